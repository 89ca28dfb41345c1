"""One contract for every strategy, and what Sobol adds to it."""

import jax
import numpy as np
import pytest
from scipy.stats import qmc

from schedules.search import STRATEGIES, named_key, sobol_search

DIMENSIONS, BATCH = 3, 8
SCORES = {
    "a bowl": lambda points: ((points - 0.3) ** 2).sum(axis=1),
    "flat": lambda points: np.zeros(len(points)),
    "partly diverged": lambda points: np.where(points[:, 0] > 0.5, np.inf, points[:, 1]),
    "all diverged": lambda points: np.full(len(points), np.inf),
}
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def start(name, seed=0, batch=BATCH, dimensions=DIMENSIONS):
    strategy = STRATEGIES[name](dimensions, batch)
    return strategy, strategy.init(jax.random.key(seed))


def search(name, objective, batches, **how):
    strategy, history = start(name, **how)
    for _ in range(batches):
        points = strategy.ask(history)
        history = strategy.tell(history, points, objective(points))
    return strategy, history


@every_strategy
@pytest.mark.parametrize("objective", SCORES)
def test_asked_points_are_new_ones_of_the_unit_cube(name, objective):
    _, history = search(name, SCORES[objective], batches=6)
    assert history.points.shape == (6 * BATCH, DIMENSIONS)
    assert ((history.points >= 0) & (history.points <= 1)).all()
    assert len(np.unique(history.points, axis=0)) == 6 * BATCH
    np.testing.assert_array_equal(history.scores, SCORES[objective](history.points))


@every_strategy
def test_asking_twice_gives_the_same_points(name):
    strategy, history = search(name, SCORES["a bowl"], batches=2)
    np.testing.assert_array_equal(strategy.ask(history), strategy.ask(history))


@every_strategy
def test_telling_leaves_the_earlier_history_as_it_was(name):
    strategy, history = start(name)
    points = strategy.ask(history)
    strategy.tell(history, points, np.zeros(BATCH))
    assert history.points.shape == (0, DIMENSIONS)
    np.testing.assert_array_equal(strategy.ask(history), points)


@every_strategy
def test_different_keys_ask_for_different_points(name):
    (strategy, first), (_, second) = start(name, seed=0), start(name, seed=1)
    assert not np.isin(strategy.ask(first), strategy.ask(second)).any()


@every_strategy
def test_a_search_told_the_same_again_goes_on_the_same(name):
    strategy, history = search(name, SCORES["partly diverged"], batches=3)
    resumed, again = start(name)
    for k in range(0, 3 * BATCH, BATCH):
        again = resumed.tell(again, history.points[k : k + BATCH], history.scores[k : k + BATCH])
    np.testing.assert_array_equal(resumed.ask(again), strategy.ask(history))


@every_strategy
def test_a_nan_score_is_refused(name):
    strategy, history = start(name)
    scores = np.where(np.arange(BATCH) == 3, np.nan, 0.5)
    with pytest.raises(ValueError, match=r"\+inf where a run diverged"):
        strategy.tell(history, strategy.ask(history), scores)


@every_strategy
@pytest.mark.parametrize(("dimensions", "batch"), [(1, 1), (1, 5), (8, 3)])
def test_dimensions_and_batch_are_those_asked_for(name, dimensions, batch):
    _, history = search(name, SCORES["flat"], batches=3, dimensions=dimensions, batch=batch)
    assert len(np.unique(history.points, axis=0)) == 3 * batch
    assert history.points.shape[1] == dimensions


@every_strategy
def test_points_cover_the_whole_cube(name):
    _, history = search(name, SCORES["flat"], batches=16)
    octants = (history.points > 0.5) @ [1, 2, 4]
    assert (np.bincount(octants, minlength=8) >= 4).all()  # 16 expected: below 4 in 1 of 10,000 draws


@pytest.mark.parametrize("batches", [(16,), (8, 8), (1, 2, 5, 8), (3, 13), (15, 1)])
def test_sobol_asks_for_the_same_sequence_however_it_is_cut(batches):
    _, whole = search("sobol", SCORES["flat"], batches=1, batch=16)
    history = start("sobol")[1]
    for batch in batches:
        strategy = sobol_search(DIMENSIONS, batch)
        history = strategy.tell(history, strategy.ask(history), np.zeros(batch))
    np.testing.assert_array_equal(history.points, whole.points)


@pytest.mark.parametrize("seed", range(5))
def test_sobol_fills_the_cube_more_evenly_than_random(seed):
    points = {name: search(name, SCORES["flat"], batches=8, seed=seed)[1].points for name in STRATEGIES}
    discrepancies = {name: qmc.discrepancy(points[name].astype(float)) for name in STRATEGIES}
    assert discrepancies["sobol"] < discrepancies["random"] / 2


@pytest.mark.parametrize("axis", range(DIMENSIONS))
def test_sobol_has_one_point_in_each_of_64_equal_slices_of_an_axis(axis):
    _, history = search("sobol", SCORES["flat"], batches=8)
    assert sorted(np.floor(64 * history.points[:, axis]).astype(int)) == list(range(64))


def test_named_keys_depend_on_every_name_and_their_order_only():
    root = jax.random.key(0)
    names = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("a", 0), ("a", 1), (0, "a"), ("ab",)]
    keys = [tuple(jax.random.key_data(named_key(root, *name)).tolist()) for name in names]
    assert len(set(keys)) == len(names)
    direct = jax.random.fold_in(jax.random.fold_in(root, 3), 7)
    assert jax.random.key_data(named_key(root, 3, 7)).tolist() == jax.random.key_data(direct).tolist()
