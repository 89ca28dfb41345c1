"""One contract for every strategy."""

import functools
import subprocess
import sys

import jax
import numpy as np
import pytest

from schedules.search import STRATEGIES, named_key

DRAWN = ("random", "sobol", "grid")  # they do not look at scores
ADAPTIVE = tuple(name for name in STRATEGIES if name not in DRAWN)
CASES = [(1, 1), (1, 5), (2, 5), (9, 4)]  # dimensions and batch, beside the usual 3 and 4
BOTTOM = np.array([0.3, 0.7, 0.55, 0.4, 0.2, 0.6, 0.45, 0.8, 0.35])


def bowl(points):
    return ((points - BOTTOM[: points.shape[1]]) ** 2).sum(axis=1)


SCORES = {
    "a bowl": bowl,
    "ties": lambda points: np.round(bowl(points), 1),
    "flat": lambda points: np.zeros(len(points)),
    "partly diverged": lambda points: np.where(points[:, 0] > 0.5, np.inf, bowl(points)),
    "all diverged": lambda points: np.full(len(points), np.inf),
    "of both signs": lambda points: bowl(points) - 0.3,
    "in a corner": lambda points: points.sum(axis=1),
}
UNKIND = ("flat", "in a corner")
SEARCHES = [(3, 4, objective) for objective in SCORES]
SEARCHES += [(*case, objective) for case in CASES for objective in UNKIND]
SEARCHES_OF_ANY_SCORES = [(*case, "partly diverged") for case in ((3, 4), *CASES)]
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


@functools.cache
def strategy_of(name, dimensions, batch):
    return STRATEGIES[name](dimensions, batch)


@functools.cache
def start(name, dimensions=3, batch=4, seed=0):
    return strategy_of(name, dimensions, batch).init(jax.random.key(seed))


def room(name, batch):
    """How many batches a search of these tests has: a Gaussian process costs most."""
    points = 32 if name == "trust_region" else 120
    return points // batch if batch > 1 else points // 4


@functools.cache
def searched(name, objective="a bowl", batches=None, dimensions=3, batch=4, seed=0):
    """The history of a search; its arrays refuse to be written on."""
    strategy, history = strategy_of(name, dimensions, batch), start(name, dimensions, batch, seed)
    for _ in range(batches or room(name, batch)):
        points = strategy.ask(history)
        history = strategy.tell(history, points, SCORES[objective](points))
        for array in (history.points, history.scores):
            array.setflags(write=False)
    return history


def told(name, points, scores, slices):
    """The history of a strategy that is told these results in slices of the given sizes."""
    strategy, history, first = strategy_of(name, 3, 4), start(name), 0
    for size in slices:
        history = strategy.tell(history, points[first : first + size], scores[first : first + size])
        first += size
    assert first == len(points)
    return history


@pytest.mark.parametrize(
    ("name", "dimensions", "batch", "objective"),
    [
        (name, *search)
        for name in STRATEGIES
        for search in (SEARCHES if name in ADAPTIVE else SEARCHES_OF_ANY_SCORES)
    ],
)
def test_asked_points_are_new_ones_of_the_unit_cube(name, dimensions, batch, objective):
    history = searched(name, objective, None, dimensions, batch)
    assert history.points.shape == (room(name, batch) * batch, dimensions)
    assert ((history.points >= 0) & (history.points <= 1)).all()
    assert len(np.unique(history.points, axis=0)) == len(history.points)
    np.testing.assert_array_equal(history.scores, SCORES[objective](history.points))


@every_strategy
@pytest.mark.parametrize("batches", [0, 1, 5])
def test_asking_twice_gives_the_same_points(name, batches):
    history = searched(name, batches=batches) if batches else start(name)
    strategy = STRATEGIES[name](3, 4)  # one that never saw this history
    np.testing.assert_array_equal(strategy.ask(history), strategy_of(name, 3, 4).ask(history))
    np.testing.assert_array_equal(strategy.ask(history), strategy.ask(history))


@every_strategy
def test_telling_leaves_the_earlier_history_as_it_was(name):
    strategy, history = strategy_of(name, 3, 4), start(name)
    points = strategy.ask(history)
    strategy.tell(history, points, np.zeros(4))
    assert history.points.shape == (0, 3)
    np.testing.assert_array_equal(strategy.ask(history), points)


@every_strategy
def test_different_keys_ask_for_different_points(name):
    first, second = searched(name, batches=5), searched(name, batches=5, seed=1)
    assert len(np.setdiff1d(first.points[:, 0], second.points[:, 0])) > 0
    assert not np.array_equal(first.points, second.points)


@every_strategy
@pytest.mark.parametrize("slices", [(4,) * 5, (20,), (1,) * 20, (3, 9, 8)])
def test_a_search_told_the_same_again_goes_on_the_same(name, slices):
    whole = searched(name, "partly diverged")
    strategy, history = strategy_of(name, 3, 4), told(name, whole.points[:20], whole.scores[:20], slices)
    for first in (20, 24):
        points = strategy.ask(history)
        np.testing.assert_array_equal(points, whole.points[first : first + 4])
        history = strategy.tell(history, points, whole.scores[first : first + 4])


@every_strategy
def test_a_search_whose_scores_were_revised_asks_for_new_points(name):
    """As racing does: what finishes later changes the scores of those that dropped out."""
    points = searched(name).points[:24]
    history = told(name, points, SCORES["in a corner"](points), (24,))
    asked = strategy_of(name, 3, 4).ask(history)
    assert ((asked >= 0) & (asked <= 1)).all()
    assert len(np.unique(np.concatenate([points, asked]), axis=0)) == 28


@every_strategy
@pytest.mark.parametrize("score", [np.nan, -np.inf])
def test_a_score_that_is_no_number_is_refused(name, score):
    scores = np.where(np.arange(4) == 3, score, 0.5)
    with pytest.raises(ValueError, match=r"\+inf where a run diverged, neither NaN nor -inf"):
        strategy_of(name, 3, 4).tell(start(name), strategy_of(name, 3, 4).ask(start(name)), scores)


@every_strategy
@pytest.mark.parametrize(
    ("points", "scores", "message"),
    [
        (np.full((4, 3), 0.5), np.zeros(3), r"got shapes \(4, 3\) and \(3,\)"),
        (np.full((4, 3), 0.5), np.zeros((4, 1)), r"got shapes \(4, 3\) and \(4, 1\)"),
        (np.full((4, 2), 0.5), np.zeros(4), r"an array \(batch, 3\) with a score each"),
        (np.full(3, 0.5), np.zeros(3), r"an array \(batch, 3\)"),
        (np.full((1, 3), np.nan), np.zeros(1), "unit cube"),
        (np.array([[0.5, 0.5, 1.001]]), np.zeros(1), r"unit cube, got \[\[0.5 +0.5 +1.001\]\]"),
        (np.array([[0.5, -0.001, 1.0]]), np.zeros(1), "unit cube"),
    ],
)
def test_points_of_no_cube_or_without_a_score_each_are_refused(name, points, scores, message):
    with pytest.raises(ValueError, match=message):
        strategy_of(name, 3, 4).tell(start(name), points, scores)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_neither_the_unit_nor_a_constant_of_scores_that_are_not_positive_changes_anything(name):
    """In powers of two and binary fractions, for which the arithmetic of any scale is exact."""

    def search(unit, constant):
        strategy, history = strategy_of(name, 3, 4), start(name)
        for _ in range(room(name, 4)):
            points = strategy.ask(history)
            scores = np.round(bowl(points.astype(np.float64)) * 2**20) / 2**20
            history = strategy.tell(history, points, unit * (scores + constant))
        return history.points

    expected = search(1.0, -4.0)
    np.testing.assert_array_equal(search(1.0, -64.0), expected)
    np.testing.assert_array_equal(search(2.0**-50, -4.0), expected)


@every_strategy
def test_a_family_may_have_many_parameters(name):
    strategy, history = strategy_of(name, 20, 8), start(name, 20, 8)
    for _ in range(4):
        points = strategy.ask(history)
        history = strategy.tell(history, points, ((points - 0.4) ** 2).sum(axis=1))
    assert history.points.shape == (32, 20)
    assert len(np.unique(history.points, axis=0)) == 32


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_points_do_not_depend_on_scores(name):
    np.testing.assert_array_equal(searched(name).points, searched(name, "in a corner").points)


@pytest.mark.parametrize("name", ["cmaes", "coordinate"])
def test_only_the_order_of_the_scores_matters(name):
    """An increasing map changes nothing, and a diverged run is only worse than all others."""
    whole = searched(name, "partly diverged")
    scores = np.where(np.isinf(whole.scores), 1e4, np.exp(whole.scores) - 7)
    for count in (40, 80, 112):
        history = told(name, whole.points[:count], scores[:count], (count,))
        np.testing.assert_array_equal(strategy_of(name, 3, 4).ask(history), whole.points[count : count + 4])


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_bowl_is_found_with_far_fewer_points_than_at_random(name):
    count = {"trust_region": 32}.get(name, 128)
    found = [searched(name, batches=count // 4, dimensions=4, seed=seed).scores.min() for seed in range(3)]
    drawn = [bowl(np.random.default_rng(seed).random((16 * count, 4))).min() for seed in range(25)]
    assert np.median(found) < np.median(drawn) / 2


@pytest.mark.parametrize("name", ["cmaes", "coordinate"])
def test_a_search_that_has_contracted_starts_anew_elsewhere(name):
    history = searched(name, batches=100, dimensions=2)
    distances = np.max(np.abs(history.points - BOTTOM[:2]), axis=1)
    contracted = np.flatnonzero(distances < 1e-3)[20]
    assert (distances[contracted:] > 0.25).sum() >= 4


def test_named_keys_depend_on_every_name_and_their_order_only():
    root = jax.random.key(0)
    names = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("a", 0), ("a", 1), (0, "a"), ("ab",)]
    keys = [tuple(jax.random.key_data(named_key(root, *name)).tolist()) for name in names]
    assert len(set(keys)) == len(names)
    direct = jax.random.fold_in(jax.random.fold_in(root, 3), 7)
    assert jax.random.key_data(named_key(root, 3, 7)).tolist() == jax.random.key_data(direct).tolist()


WITHOUT_LIBRARIES = """
import sys
sys.modules["tinygp"] = sys.modules["cmaes"] = None
from schedules.search import STRATEGIES
for name, strategy in STRATEGIES.items():
    try:
        strategy(2, 4)
    except ImportError as error:
        print(error)
    else:
        print(name)
"""


def test_without_their_libraries_strategies_say_what_to_install_and_the_others_work():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARIES], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "trust_region_search needs tinygp: pip install 'steepest[search]'",
        "cmaes_search needs cmaes: pip install 'steepest[search]'",
        "coordinate",
        "random",
        "sobol",
        "grid",
    ]
