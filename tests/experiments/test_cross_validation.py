"""Folds of all images, what a classifier does on them against NumPy, and its way through the journal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from experiments.study.training.cross_validation import (
    CLUSTERS,
    columns,
    errors,
    evaluated,
    of_condition,
    split,
)
from experiments.study.training.tasks import IN_DISTRIBUTION, SHIFTED, Task, task_errors
from workloads.datasets.all_digits import Copies

IMAGES, VALIDATION, CONDITIONS = 45, 6, ("as they are", "blur", "noise")
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def copies():
    """Images that know their place and their condition."""
    places = np.arange(IMAGES, dtype=np.float32)
    numbers = places[None] + 1000 * np.arange(3, dtype=np.float32)[:, None]
    return Copies(numbers[..., None, None, None], (7 * np.arange(IMAGES) % 3).astype(np.int32))


def places(images):
    return np.asarray(images).ravel().astype(int) % 1000


@pytest.mark.parametrize("environments", [1, 2])
def test_every_image_is_left_out_once_and_never_trained_on_there(copies, environments):
    tested = []
    for fold in range(3):
        seen = split(copies, fold, environments, VALIDATION, KEY)
        tested += (left_out := places(seen.test_images[0]).tolist())
        trained, validated = places(seen.train_images), places(seen.validation_images)
        assert sorted([*left_out, *trained, *validated]) == list(range(IMAGES))
        assert len(validated) == VALIDATION
        for images, labels in (
            (seen.train_images, seen.train_labels),
            (seen.validation_images, seen.validation_labels),
            (seen.test_images[2], seen.test_labels),
        ):
            np.testing.assert_array_equal(copies.labels[places(images)], np.asarray(labels).ravel())
        conditions = np.asarray(seen.train_images).reshape(environments, -1) // 1000
        np.testing.assert_array_equal(conditions, np.arange(environments)[:, None] + 0 * conditions)
        np.testing.assert_array_equal(np.asarray(seen.test_images).reshape(3, -1)[:, 0] // 1000, [0, 1, 2])
    assert sorted(tested) == list(range(IMAGES))


def logits_of(weights, images):
    x = images.reshape(len(images), -1)
    return jnp.sin(x * weights) * jnp.array([[1.0, 2.0, 0.5]])


@pytest.fixture(scope="module")
def metrics(copies):
    """By fold, as `trial_runner` hands them on: an axis of runs, and one of evaluations."""

    @jax.jit
    def found(copies):
        return [evaluated(logits_of, 0.7, split(copies, fold, 1, VALIDATION, KEY)) for fold in range(3)]

    return [{name: np.asarray(value)[None, None] for name, value in fold.items()} for fold in found(copies)]


def test_what_is_told_of_a_condition_is_numpys(copies, metrics):
    named = {name: float(value[0]) for name, value in columns(metrics[1], CONDITIONS).items()}
    test = np.arange(15, 30)
    for place, condition in enumerate(CONDITIONS):
        x, labels = copies.images[place, test].ravel().astype(np.float64), copies.labels[test]
        logits = np.sin(0.7 * x)[:, None] * [1.0, 2.0, 0.5]
        wrong, p = logits.argmax(axis=1) != labels, special.softmax(logits, axis=1)
        assert named[of_condition("test_error", condition)] == pytest.approx(wrong.mean())
        loss = -np.log(p[np.arange(15), labels]).mean()
        assert named[of_condition("test_loss", condition)] == pytest.approx(loss, rel=1e-3)
        confidences = p.max(axis=1)
        bins = np.ceil(confidences * 15)
        ece = sum(abs(np.sum((confidences - ~wrong)[bins == b])) for b in set(bins)) / 15
        assert named[of_condition("ece", condition)] == pytest.approx(ece, abs=2e-3)
        assert 0 < named[of_condition("chance_ece", condition)] < 1
    assert named["validation_error"] == pytest.approx(
        np.mean(
            (np.sin(0.7 * np.arange(30, 36))[:, None] * [1.0, 2.0, 0.5]).argmax(axis=1)
            != copies.labels[30:36]
        )
    )


def test_errors_of_all_folds_are_those_of_all_images_by_cluster(copies, metrics):
    runs = [{name: float(v[0]) for name, v in columns(fold, CONDITIONS).items()} for fold in metrics]
    shares = errors(enumerate([*runs, *runs]), CONDITIONS, IMAGES)  # of two seeds that agree
    assert shares.counts.shape == (3, 3 * CLUSTERS)
    assert shares.totals.sum() == 2 * IMAGES
    for place, value in enumerate(shares.values):
        logits = np.sin(0.7 * copies.images[place].reshape(IMAGES, 1)) * [1.0, 2.0, 0.5]
        assert value == pytest.approx(np.mean(logits.argmax(axis=1) != copies.labels))


def test_a_task_pools_its_conditions(monkeypatch, metrics):
    monkeypatch.setattr("experiments.study.training.tasks.IMAGES", IMAGES)
    task = Task(lambda: None, 3, CONDITIONS[:1], {"blur": CONDITIONS[1:2], "noise": CONDITIONS[2:]})
    runs = [{name: float(v[0]) for name, v in columns(fold, CONDITIONS).items()} for fold in metrics]
    pooled = {name: float(shares.values) for name, shares in task_errors(runs, task).items()}
    assert pooled[IN_DISTRIBUTION] == pooled["as they are"]
    assert pooled[SHIFTED] == pytest.approx((pooled["blur"] + pooled["noise"]) / 2)
