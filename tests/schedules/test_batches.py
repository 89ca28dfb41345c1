"""New points in the float32 of a history."""

import itertools

import numpy as np

from schedules.search.batches import first_new


def test_points_that_were_told_or_taken_are_passed_over():
    told = np.array([[0.25, 0.5], [0.1, 0.2]], np.float32)
    values = [0.25, 0.75, 0.75, 0.75 + 1e-12, 0.1, 0.5, 0.6]
    stream = iter([np.array([value, 2 * value]) for value in values])
    new = first_new(told, stream, 2)
    assert new.dtype == np.float32
    assert new.tolist() == [[0.75, 1.5], [0.5, 1.0]]
    assert next(stream)[0] == 0.6  # it takes no more than it needs


def test_a_batch_is_made_of_the_first_points():
    stream = (np.array([number / 8]) for number in itertools.count())
    assert first_new(np.zeros((0, 1), np.float32), stream, 3).ravel().tolist() == [0, 0.125, 0.25]
