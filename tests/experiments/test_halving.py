"""Successive halving replayed on made-up runs whose outcome is known."""

import numpy as np
import pytest

from experiments.generalization import Config
from experiments.generalization.config import FRESH, HALVE, Trial, candidates
from experiments.generalization.halving import halve, replay, share_of_budget


def test_halving_keeps_the_better_half_of_those_left():
    scores = np.array(
        [
            [5.0, 1.0, 2.0, 3.0, 4.0],  # leaves 1, 2, 3: half of five, rounded up
            [0.0, 3.0, 2.0, 1.0, 0.0],  # leaves 2, 3
            [0.0, 0.0, 1.0, 2.0, 0.0],  # leaves 2
            [0.0, 0.0, 9.0, 0.0, 0.0],  # nothing left to choose
        ]
    )
    assert halve(scores) == 2
    assert halve(np.array([[2.0, np.inf, 2.0]] * 4)) == 0


def test_halving_costs_what_is_left_at_each_rung():
    # of 4 runs of 8 steps: all for 1, two for 1 more, one for the other 6
    assert share_of_budget(4, (1, 2, 4, 8)) == (4 * 1 + 2 * 1 + 1 * 6) / 32


@pytest.mark.parametrize("diverged", [np.nan, np.inf, -np.inf])
def test_replayed_criteria_choose_by_their_own_column_and_are_scored_on_fresh_seeds(diverged):
    config = Config(
        widths=(2,), optimizers=("adam",), rates=5, train_sizes=(100,), halving_size=50, halving_replicates=2
    )
    tried = candidates(config)
    names = ("train_loss", "validation_loss", "takeuchi_diagonal", "takeuchi_trace_ratio", "test_loss")
    columns = {  # train, validation, diagonal, ratio; test loss is never read
        0: (0.0, 3.0, 500.0, 900.0, 0.0),
        1: (1.0, 0.5, 400.0, 800.0, 0.0),
        2: (2.0, 2.0, 50.0, 500.0, 0.0),  # predicted 3 by the diagonal, 12 by the ratio
        3: (4.0, 2.0, 40.0, 50.0, 0.0),  # predicted 4.8 and 5; undivided by n, the diagonal would choose it
        4: (diverged,) * 5,
    }

    def identity(stage, k, replicate):
        return Trial(stage, tried[k], 50, replicate).identity

    halved = {
        identity(HALVE, k, replicate): {
            f"{n}@{step}": v for n, v in zip(names, columns[k], strict=True) for step in config.rungs
        }
        for k in range(5)
        for replicate in range(2)
    }
    fresh = {
        identity(FRESH, k, replicate): {config.score: diverged if k in (1, 4) else 10.0 * k + replicate}
        for k in range(5)
        for replicate in range(2)
    }
    chosen = {
        "train_loss": 0,
        "validation_loss": 1,
        "train_loss + takeuchi_diagonal / n": 2,
        "train_loss + takeuchi_trace_ratio / n": 3,
    }
    found = replay(config, halved, fresh)
    for name, k in chosen.items():
        assert found[name].chosen == (tried[k],) * 2
        np.testing.assert_array_equal(found[name].scores, np.inf if k == 1 else 10.0 * k + 0.5)
    for candidate, score in zip(found["random"].chosen, found["random"].scores, strict=True):
        k = tried.index(candidate)
        assert score == (np.inf if k in (1, 4) else 10.0 * k + 0.5)
