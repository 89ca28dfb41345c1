"""A search of two groups' rates by training, on a bowl that separates in them: its best ratio is known.

Gradient descent on ½ (a x² + b y²) + c with a rate a group takes x and y to 0 in a step each at the rates 1/a
and 1/b: the best ratio is a/b, and the lowest loss c.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.study.running.sweeping import Sweep
from experiments.study.training.shape_runs import ShapeRunner
from schedules import Family, Interval
from schedules.groups import in_groups
from schedules.search import Candidate, CurveBudget, SearchSpace, Trial, search_curves
from workloads import Workload, run_keys, run_mesh

STEEP, FLAT, LOWEST = 5.0, 0.5, 0.1
RATIO = STEEP / FLAT
SPACE = SearchSpace(
    in_groups(Family("flat", jnp.ones_like, {}, {}), Interval(0.1, 100.0, log=True)),
    Interval(0.02, 2.0, log=True),
)
STEPS = 2
KEY = jax.random.key(0)


def loss(params, batch=None, key=None):
    return (STEEP * params["x"] ** 2 + FLAT * params["y"] ** 2) / 2 + LOWEST


BOWL = Workload(
    data=jnp.zeros(1),
    init=lambda key: dict(zip("xy", 1 + 0.1 * jax.random.normal(key, 2), strict=True)),
    indices=lambda key, batch_size, num_steps: jnp.zeros((num_steps, batch_size), int),
    batch=lambda data, indices: data[indices],
    loss=loss,
    evaluate=lambda params, data: {"train_loss": loss(params)},
)


def descent(first, second):
    return optax.partition({"x": optax.sgd(first), "y": optax.sgd(second)}, {"x": "x", "y": "y"})


@pytest.fixture(scope="module")
def runner():
    return ShapeRunner(BOWL, descent, KEY, Sweep(run_mesh(1)), batch_size=1, capacity=64)


@pytest.fixture(scope="module")
def evaluate(runner):
    def scores(trials):
        parts = [trials[start : start + 64] for start in range(0, len(trials), 64)]
        metrics = [run["train_loss"] for part in parts for run in runner(part)]
        return dict(zip(trials, metrics, strict=True))

    return scores


def test_a_run_has_the_loss_of_the_two_rates_in_closed_form(evaluate):
    rates = {"x": 0.1, "y": 0.4}
    candidate = Candidate(SPACE.family, 0, {"ratio": 4.0}, 0.1)
    ((trial, loss),) = evaluate([Trial("screen", candidate, STEPS, 3)]).items()
    start = BOWL.init(run_keys(trial.key(KEY)).init)
    expected = LOWEST + sum(
        curvature / 2 * (1 - rates[name] * curvature) ** (2 * STEPS) * float(start[name]) ** 2
        for name, curvature in {"x": STEEP, "y": FLAT}.items()
    )
    assert loss == pytest.approx(expected, rel=1e-5)


def test_the_search_finds_the_ratio_of_the_curvatures(evaluate):
    winners = search_curves([SPACE], (), CurveBudget(80, 1, STEPS), KEY, evaluate).findings.winners
    winner = winners["flat"]
    assert abs(math.log(winner.candidate.params["ratio"] / RATIO)) < math.log(1.25)  # of 1,000 searched
    assert abs(math.log(winner.base_lr * STEEP)) < math.log(1.25)
    assert np.median(winner.scores) < 1.01 * LOWEST


def test_what_a_run_of_two_rates_a_step_needs_is_known_before(runner):
    with pytest.raises(ValueError, match="for one run, got 100"):
        runner.fitting_vectorize((2, STEPS), memory=100)
