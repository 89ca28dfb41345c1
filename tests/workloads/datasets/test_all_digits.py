"""Copies of all digits: the same images under every condition, spoilt or coloured."""

import numpy as np
import pytest

from workloads.datasets.all_digits import SHIFTS, all_digits, recoloured_digits, spoilt_digits
from workloads.datasets.corruptions import corrupted
from workloads.datasets.digits import load_digits


def test_all_digits_are_those_of_both_splits_each_once():
    images, labels = all_digits()
    train_images, train_labels, test_images, test_labels = load_digits()
    assert images.shape == (1797, 8, 8, 1)
    np.testing.assert_array_equal(images[:1437], train_images)
    np.testing.assert_array_equal(images[1437:], test_images)
    np.testing.assert_array_equal(labels, [*train_labels, *test_labels])


def test_spoilt_digits_are_as_they_are_and_then_shifted():
    images, labels = all_digits()
    copies = spoilt_digits(seed=3)
    assert copies.images.shape == (21, *images.shape)
    np.testing.assert_array_equal(copies.images[0], images)
    np.testing.assert_array_equal(copies.labels, labels)
    place = SHIFTS.index(("noise", 4))
    np.testing.assert_array_equal(copies.images[1 + place], corrupted(images, "noise", 4, seed=3))


def test_a_larger_share_of_flips_has_those_of_the_smaller_and_labels_stay():
    copies = recoloured_digits((0.1, 0.2, 0.9), seed=1)
    images, digits = all_digits()
    assert abs(np.mean(copies.labels == (digits >= 5)) - 0.75) < 1e-3  # by shape
    colours = copies.images.sum(axis=(2, 3)).argmax(axis=-1)
    np.testing.assert_allclose(copies.images.sum(axis=-1), np.stack([images[..., 0]] * 3))
    flipped = colours != copies.labels
    np.testing.assert_allclose(flipped.mean(axis=1), [0.1, 0.2, 0.9], atol=1e-3)
    assert np.all(flipped[:-1] <= flipped[1:])


@pytest.mark.parametrize(("flips", "told"), [((), "at least one share"), ((0.1, 1.5), "got 1.5")])
def test_shares_that_are_none_are_refused(flips, told):
    with pytest.raises(ValueError, match=told):
        recoloured_digits(flips)
