"""CMA-ES: what its generations are, and that the library gets to know them whole."""

import jax
import numpy as np
import pytest

from schedules.search.evolution import cmaes_search


def history_of(batch, points, scores):
    strategy = cmaes_search(points.shape[1], batch)
    return strategy, strategy.tell(strategy.init(jax.random.key(0)), points, scores)


def asked(batch, points, scores):
    strategy, history = history_of(batch, points, scores)
    return strategy.ask(history)


def same_asked(batch, points, first):
    """Whether what is asked next stays the same where the order of all scores from `first` on turns round."""
    scores = np.random.default_rng(1).random(len(points))
    turned = np.where(np.arange(len(points)) < first, scores, -scores)
    return np.array_equal(asked(batch, points, scores), asked(batch, points, turned))


@pytest.mark.parametrize(
    ("dimensions", "batch", "population"),
    [(1, 1, 4), (3, 1, 7), (3, 4, 8), (3, 5, 10), (9, 1, 10), (9, 4, 12), (3, 32, 32)],
)
def test_a_generation_is_the_librarys_default_filled_up_to_whole_batches(dimensions, batch, population):
    points = np.random.default_rng(0).random((3 * population, dimensions)).astype(np.float32)
    for told in range(batch, 3 * population, batch):
        first = told // population * population  # of the generation that is not whole
        assert same_asked(batch, points[:told], first)
        if first:
            assert not same_asked(batch, points[:told], first - population)


def test_a_contracted_search_starts_anew_with_twice_the_population():
    rng = np.random.default_rng(0)
    tiny = 0.3 + 1e-5 * rng.random((8, 3))
    points = np.concatenate([tiny, rng.random((24, 3))]).astype(np.float32)
    for told in (8, 12, 16, 20):
        assert same_asked(4, points[:told], first=0)  # nothing that was learnt before remains
    assert not same_asked(4, points[:24], first=8)


def test_a_search_starts_anew_elsewhere():
    tiny = (0.3 + 1e-5 * np.random.default_rng(0).random((64, 3))).astype(np.float32)
    new = asked(64, tiny, np.arange(64.0))
    z = (new.mean(axis=0) - 0.5) / (new.std(axis=0) / 8)
    assert np.abs(z).max() > 4.5  # neither in the middle
    assert np.ptp(new, axis=0).min() > 0.5  # nor where it was


def test_a_search_of_which_everything_diverged_starts_anew():
    points = np.random.default_rng(0).random((80, 1)).astype(np.float32)
    scores = np.full(80, np.inf)
    # the library gives up on equal scores after 10 + 30 / 4 generations of 4; then they have 8
    changed = np.where(np.arange(80) < 76, scores, np.arange(80))
    np.testing.assert_array_equal(asked(4, points, scores), asked(4, points, changed))


def test_the_unit_of_the_scores_changes_nothing_however_long_the_search():
    """Beyond 10 + 30 · 3 / 8 generations of 8 the library looks at the spread of the scores."""
    histories = []
    for factor in (1.0, 2.0**-47, 2.0**-1000, 2.0**1000):
        strategy = cmaes_search(3, 8)
        history = strategy.init(jax.random.key(0))
        for _ in range(30):
            points = strategy.ask(history)
            scores = factor * ((points.astype(np.float64) - 0.4) ** 2).sum(axis=1)
            history = strategy.tell(history, points, scores)
        histories.append(history)
    for history in histories[1:]:
        np.testing.assert_array_equal(history.points, histories[0].points)


def test_the_mean_moves_to_the_weighted_best_half():
    """Hansen (2016), eq. 41 to 43 and 49: weights log((λ+1)/2) - log i over the best λ/2, normalised."""
    population = 64
    rng = np.random.default_rng(0)
    points = (0.5 + 0.05 * rng.normal(size=(population, 2))).astype(np.float32)
    scores = points @ np.array([1.0, -2.0])
    weights = np.log((population + 1) / 2) - np.log(np.arange(1, population // 2 + 1))
    expected = weights / weights.sum() @ points[np.argsort(scores)[: population // 2]]
    new = asked(population, points, scores)
    errors = new.std(axis=0) / np.sqrt(population)
    assert np.abs((new.mean(axis=0) - expected) / errors).max() < 4
    assert np.abs((new.mean(axis=0) - points.mean(axis=0)) / errors).max() > 4  # it did move


@pytest.mark.parametrize("dimensions", [1, 3])
def test_the_first_points_are_normal_around_the_middle(dimensions):
    strategy = cmaes_search(dimensions, 1_000)
    points = strategy.ask(strategy.init(jax.random.key(0))) - 0.5
    # a normal distribution of deviation 0.3 cut off at ±0.5: variance 0.3²·(1 - 2·(5/3)·φ(5/3)/(2Φ(5/3) - 1))
    variance = 0.09 * (1 - (10 / 3) * 0.09947714 / 0.90441926)
    assert np.abs(points.mean(axis=0) / np.sqrt(variance / 1_000)).max() < 4.5
    assert np.abs(points.var(axis=0) / variance - 1).max() < 4.5 * np.sqrt(2 / 1_000)
