"""Permutation importance: variances known in closed form, and what is left out of the question."""

import math

import numpy as np
import pytest

from experiments.shape_search.importance import BASE_LR, better_half, parameter_importances, total_effects
from schedules import FAMILIES, Interval
from schedules.search import SearchSpace

SPACE = SearchSpace(FAMILIES["rex"], Interval(0.01, 1.0, log=True))
POINTS = np.random.default_rng(0).random((400, 4)).astype(np.float32)


def test_of_an_additive_score_each_coordinate_has_its_share_of_the_variance():
    """Var 3x : Var y = 9 : 1 for coordinates uniform on [0, 1]."""
    first, second, *others = total_effects(POINTS, 3 * POINTS[:, 0] + POINTS[:, 1])
    assert first.value == pytest.approx(0.9, abs=0.08)
    assert second.value == pytest.approx(0.1, abs=0.04)
    assert first.low > second.high
    assert second.low > 0
    assert all(abs(share.value) < 0.01 for share in others)


def test_noise_rests_on_no_coordinate():
    """Signal and noise have the same variance: half of it rests on the signal's coordinate."""
    noise = np.random.default_rng(1).standard_normal(400) / math.sqrt(12)
    shares = total_effects(POINTS, POINTS[:, 2] + noise)
    assert shares[2].value == pytest.approx(0.5, abs=0.12)
    assert shares[2].low > 0.2
    for other in (0, 1, 3):
        assert shares[other].low <= 0.02
        assert shares[other].value < 0.06


def test_a_resample_that_leaves_no_candidate_out_is_drawn_again():
    """As the third of eight candidates with four coordinates, and the twelfth with eight, were."""
    for points in (POINTS[:8], np.tile(POINTS[:8], 2)):
        shares = total_effects(points, 3 * points[:, 0])
        assert max(shares, key=lambda share: share.value) in shares[::4]  # the first, or what is equal to it
        assert all(np.isfinite(share).all() for share in shares)


def test_a_wider_confidence_makes_a_wider_interval_by_the_normal_s_quantiles():
    values = POINTS[:64, 0] + POINTS[:64, 1] ** 2
    wide, narrow = (total_effects(POINTS[:64], values, confidence)[0] for confidence in (0.95, 0.6827))
    assert wide.value == narrow.value == pytest.approx((wide.low + wide.high) / 2)
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(1.96, abs=1e-2)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([3, math.inf, 1, 2, math.inf], [True, False, True, True, False]),
        ([4, 3, 2, 1], [False, False, True, True]),
        ([math.inf] * 3, [False] * 3),
        ([1, math.inf, math.inf], [True, False, False]),
    ],
)
def test_the_better_half_ends_at_the_median_and_holds_nothing_that_diverged(scores, kept):
    assert better_half(np.array(scores, float)).tolist() == kept


def made_up_search(count):
    """Every other learning rate diverges; of the rest, the loss is e^(2 u) where u places β in its range."""
    points = POINTS[:count, :3]
    points[:, 2] = np.arange(count) % 2 / 2 + points[:, 2] / 2
    scores = np.where(points[:, 2] >= 0.5, np.inf, np.exp(2 * points[:, 1]))
    return SPACE.candidates(points, 0), scores


def test_what_matters_is_asked_of_good_candidates_alone():
    """Over all candidates the learning rate decides; among those that train, β does, and nothing else."""
    shares = parameter_importances(*made_up_search(200), SPACE)
    assert list(shares) == ["warmup", "beta", BASE_LR]
    assert shares["beta"].value == pytest.approx(1, abs=0.15)
    assert abs(shares["warmup"].value) < 0.05
    assert abs(shares[BASE_LR].value) < 0.05


@pytest.mark.parametrize(
    ("scores", "enough"),
    [(np.arange(13.0), False), (np.arange(15.0), True), (np.ones(40), False), (np.full(40, math.inf), False)],
    ids=["seven in the better half", "eight", "flat", "diverged"],
)
def test_nothing_is_said_of_too_few_candidates_or_of_a_flat_score(scores, enough):
    candidates = SPACE.candidates(POINTS[: len(scores), :3], 0)
    assert bool(parameter_importances(candidates, scores, SPACE)) is enough
