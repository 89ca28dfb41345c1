"""Searches of a landscape without noise: the mean-field expected loss of linear regression.

An evaluation takes microseconds, so the journal holds of each search only what improved, and its last one.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from experiments.search_efficiency.config import DEFAULT, Landscape
from experiments.search_efficiency.judging import Judged, Known
from experiments.search_efficiency.searches import CURVES, DRAWN, Incumbents, Search, improvements
from experiments.study.running.runs import Runs
from experiments.study.running.sweeping import Sweep
from experiments.study.storage.journal import Row, label
from schedules import Family
from schedules.search import STRATEGIES, Candidate, SearchSpace, Trial
from schedules.search.curves import Exploration, explore
from workloads.linear_regression import expected_losses, power_law_spectrum

CAPACITY = 4096  # points of one call of the program, and what strategies that draw are asked for
VECTORIZE = 256
MODELLED = 32  # evaluations after which a model of curves hands over
POLISH = "polish"
METRIC = "expected_loss"

Loss = Callable[[Float[Array, "dims"], Float[Array, "dim"]], Float[Array, ""]]
Losses = Callable[[Float[np.ndarray, "points dims"]], Float[np.ndarray, "points"]]
Evaluations = tuple[Float[np.ndarray, "told dims"], Float[np.ndarray, "told"]]


def judge(config: Landscape, runs: Runs) -> Judged:
    """Make all searches, polish the best of what they found, and judge them."""
    losses = {family: expected_loss(config, space) for family, space in config.spaces.items()}
    incumbents = {}
    for search in config.searches:
        make = partial(search_rows, search, config, losses[search.family])
        rows = runs.rows(search.name, search.family, make, config.budgets[search.strategy])
        incumbents[search] = _incumbents(rows, config.spaces[search.family].family)
    known = {}
    for family, loss in losses.items():
        searched = [held for search, held in incumbents.items() if search.family == family]
        make = partial(polished_rows, family, config, loss, searched)
        polished = runs.rows(POLISH, family, make, num_runs=0)
        scores = [*(held.scores[-1] for held in searched), *(row.score for row in polished)]
        known[family] = Known(min(scores), error=0.0)
    return Judged(incumbents, known, winners={})


def expected_loss(config: Landscape, space: SearchSpace) -> Loss:
    """(a point of the space's cube, the spectrum) → the expected loss after the last step."""

    def loss(point: Float[Array, "dims"], spectrum: Float[Array, "dim"]) -> Float[Array, ""]:
        params = {name: value[0] for name, value in space.family.from_unit(point[None, :-1]).items()}
        multipliers = space.family.multipliers(params, config.num_steps)
        rates = space.learning_rates.from_unit(point[-1]) * multipliers
        return expected_losses(rates, spectrum, config.batch_size)[-1]

    return loss


def batch_losses(config: Landscape, loss: Loss, sweep: Sweep) -> Losses:
    """Points → the loss of each, +inf where it diverged; one compiled program for any number up to
    CAPACITY."""
    spectrum = power_law_spectrum(config.dimension, config.exponent)

    def losses(points: Float[np.ndarray, "points dims"]) -> Float[np.ndarray, "points"]:
        values = sweep(loss, points, spectrum, vectorize=VECTORIZE, capacity=max(CAPACITY, len(points)))
        return np.where(np.isfinite(values), values, np.inf)

    return losses


def search_rows(search: Search, config: Landscape, loss: Loss, sweep: Sweep) -> list[Row]:
    """Ask and tell until the budget is spent: every evaluation that improved, and the last one."""
    begun = time.perf_counter()
    losses = batch_losses(config, loss, sweep)
    space, budget = config.spaces[search.family], config.budgets[search.strategy]
    modelled = _by_curves(search, config, space, losses) if search.asks == CURVES else None
    points, scores = _by_strategy(search, config, space, losses, modelled)
    numbers = sorted({*improvements(scores).tolist(), budget - 1})
    evaluations = [(number, points[number], scores[number]) for number in numbers]
    return _rows(search.name, space, evaluations, config, (time.perf_counter() - begun) / len(numbers))


def _by_strategy(
    search: Search, config: Landscape, space: SearchSpace, losses: Losses, modelled: Evaluations | None
) -> Evaluations:
    """The points asked for, and their losses: all of them by one strategy, or by the default one after those
    that a model asked for."""
    budget, asked = config.budgets[search.strategy], DEFAULT if modelled else search.asks
    strategy = STRATEGIES[asked](space.dimensions, CAPACITY if asked in DRAWN else config.batch)
    history = strategy.init(search.key(jax.random.key(config.seed)))
    if modelled:
        history = strategy.tell(history, *modelled)
    while (told := len(history.scores)) < budget:
        points = strategy.ask(history)[: budget - told]
        history = strategy.tell(history, points, losses(points))
    return history.points, history.scores


def _by_curves(search: Search, config: Landscape, space: SearchSpace, losses: Losses) -> Evaluations:
    """The first evaluations by the model of curves, whose ten means find the region but not the curve."""
    key = search.key(jax.random.key(config.seed))
    runs = min(MODELLED, config.budgets[search.strategy])
    budget = Exploration(runs, config.batch, rounds=0, top=1, num_steps=config.num_steps)

    def points_of(trials: Iterable[Trial]) -> Float[np.ndarray, "trials dims"]:
        return np.stack([space.point(trial.candidate) for trial in trials])

    def evaluate(trials: Sequence[Trial]) -> dict[Trial, float]:
        return dict(zip(trials, losses(points_of(trials)).tolist(), strict=True))

    scores = explore({space.family.name: space}, budget, key, evaluate)
    return points_of(scores), np.array(list(scores.values()))


def polished_rows(
    family: str, config: Landscape, loss: Loss, searched: Sequence[Incumbents], _: Sweep
) -> list[Row]:
    """Descents by gradients (L-BFGS in the cube, float64) from the best winners of all searches."""
    begun = time.perf_counter()
    space = config.spaces[family]
    ranked = sorted(searched, key=lambda held: held.scores[-1])
    best = [held.winner for held in ranked[: config.polished]]
    with jax.enable_x64(True):
        spectrum = power_law_spectrum(config.dimension, config.exponent)
        value_and_gradient = jax.jit(jax.value_and_grad(lambda point: jnp.log(loss(point, spectrum))))
        starts = [space.point(winner).astype(np.float64) for winner in best]
        ends = [(number, *_descent(value_and_gradient, start)) for number, start in enumerate(starts)]
    return _rows(POLISH, space, ends, config, (time.perf_counter() - begun) / len(ends))


def _descent(
    value_and_gradient: Callable[[Float[np.ndarray, "dims"]], tuple[Array, Array]],
    start: Float[np.ndarray, "dims"],
) -> tuple[Float[np.ndarray, "dims"], float]:
    """Where the logarithm of the loss is lowest around a start, and the loss there."""
    end = minimize(
        lambda point: tuple(np.asarray(part) for part in value_and_gradient(point)),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * len(start),
    )
    return end.x, float(np.exp(end.fun))


def _rows(
    stage: str,
    space: SearchSpace,
    evaluations: Sequence[tuple[int, Float[np.ndarray, "dims"], float]],
    config: Landscape,
    seconds: float,
) -> list[Row]:
    """Of evaluations by number: each a point with its score."""
    rows = []
    for number, point, score in evaluations:
        (candidate,) = space.candidates(point[None], number)
        identity = (stage, space.family.name, number, label(num_steps=config.num_steps), 0)
        metrics = {METRIC: float(score)}
        rows.append(Row(identity, candidate.base_lr, candidate.params, float(score), metrics, seconds))
    return rows


def _incumbents(rows: Sequence[Row], family: Family) -> Incumbents:
    scores = np.array([row.score for row in rows])
    places = improvements(scores)
    improved = [rows[place] for place in places]
    candidates = tuple(Candidate(family, row.number, row.params, row.base_lr) for row in improved)
    costs = np.array([row.number + 1.0 for row in improved])
    return Incumbents(candidates, costs, scores[places], scores[places])
