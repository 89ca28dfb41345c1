"""Searches of a landscape without noise: the mean-field expected loss of linear regression.

An evaluation takes microseconds, so the journal holds of each search only what improved, and its last one.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from experiments.search_efficiency.config import Landscape
from experiments.search_efficiency.judging import Judged, Known
from experiments.search_efficiency.searches import DRAWN, Incumbents, Search, improvements
from experiments.study.running.runs import UnfinishedStudy
from experiments.study.running.session import Session
from experiments.study.running.sweeping import Sweep
from experiments.study.storage.journal import Journal, Row, label
from schedules.search import STRATEGIES, Candidate, SearchSpace
from workloads.linear_regression import expected_losses, power_law_spectrum

CAPACITY = 4096  # points of one call of the program, and what strategies that draw are asked for
VECTORIZE = 256
POLISH = "polish"
METRIC = "expected_loss"

Losses = Callable[[Float[np.ndarray, "points dims"]], Float[np.ndarray, "points"]]


def run(config: Landscape, study: Session) -> Judged:
    """Make all searches that the journal lacks, polish the best of what they found, and judge them."""
    journal, progress = study.journal, study.progress
    losses = {name: batch_losses(config, space, study.sweep) for name, space in config.spaces.items()}
    for search in config.searches:
        budget = config.budgets[search.strategy]
        done = _is_finished(search, config, journal)
        progress.begin(search.name, done=budget if done else 0, left=0 if done else budget)
        if not done:
            study.before_chunk()
            journal.record(_searched(search, config, losses[search.family]))
            progress.advance(budget)
    for family in config.families:
        if not any(row.identity[1] == family for row in journal.rows(POLISH)):
            journal.record(_polished(family, config, journal))
    return judge(config, journal)


def judge(config: Landscape, journal: Journal) -> Judged:
    """What the journal says of every search. Raises UnfinishedStudy where it lacks one."""
    found = {search: _incumbents(search, config, journal) for search in config.searches}
    polished = journal.rows(POLISH)
    known = {}
    for family in config.families:
        lowest = [of.scores[-1] for search, of in found.items() if search.family == family]
        descents = [row.score for row in polished if row.identity[1] == family]
        if not descents:
            raise UnfinishedStudy(f"nothing of {family} was polished")
        known[family] = Known(min(*lowest, *descents), error=0.0)
    return Judged(found, known, winners={})


def expected_loss(config: Landscape, space: SearchSpace) -> Callable[[Array, Array], Array]:
    """(a point of the space's cube, the spectrum) → the expected loss after the last step."""

    def loss(point: Float[Array, "dims"], spectrum: Float[Array, "dim"]) -> Float[Array, ""]:
        params = {name: value[0] for name, value in space.family.from_unit(point[None, :-1]).items()}
        multipliers = space.family.multipliers(params, config.num_steps)
        rates = space.learning_rates.from_unit(point[-1]) * multipliers
        return expected_losses(rates, spectrum, config.batch_size)[-1]

    return loss


def batch_losses(config: Landscape, space: SearchSpace, sweep: Sweep) -> Losses:
    """Points → the loss of each, +inf where it diverged; one compiled program for any number up to
    CAPACITY."""
    one, spectrum = expected_loss(config, space), power_law_spectrum(config.dimension, config.exponent)

    def losses(points: Float[np.ndarray, "points dims"]) -> Float[np.ndarray, "points"]:
        found = sweep(one, points, spectrum, vectorize=VECTORIZE, capacity=max(CAPACITY, len(points)))
        return np.where(np.isfinite(found), found, np.inf)

    return losses


def _searched(search: Search, config: Landscape, losses: Losses) -> list[Row]:
    begun = time.perf_counter()
    space, budget = config.spaces[search.family], config.budgets[search.strategy]
    batch = CAPACITY if search.asks in DRAWN else config.batch
    strategy = STRATEGIES[search.asks](space.dimensions, batch)
    history = strategy.init(search.key(jax.random.key(config.seed)))
    while (told := len(history.scores)) < budget:
        points = strategy.ask(history)[: budget - told]
        history = strategy.tell(history, points, losses(points))
    numbers = [*improvements(history.scores), budget - 1]
    seconds = (time.perf_counter() - begun) / len(set(numbers))
    return [
        _row(search.name, space, number, history.points[number], history.scores[number], config, seconds)
        for number in sorted(set(numbers))
    ]


def _polished(family: str, config: Landscape, journal: Journal) -> list[Row]:
    """Descents by gradients (L-BFGS in the cube, float64) from the best winners of all searches."""
    space = config.spaces[family]
    found = [_incumbents(search, config, journal) for search in config.searches if search.family == family]
    best = sorted(found, key=lambda of: of.scores[-1])[: config.polished]
    with jax.enable_x64(True):
        spectrum = power_law_spectrum(config.dimension, config.exponent)
        loss = expected_loss(config, space)
        value_and_gradient = jax.jit(jax.value_and_grad(lambda point: jnp.log(loss(point, spectrum))))
        rows = []
        for number, of in enumerate(best):
            begun = time.perf_counter()
            start = space.point(of.winner).astype(np.float64)
            end = minimize(
                lambda point: tuple(np.asarray(part) for part in value_and_gradient(point)),
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=[(0, 1)] * len(start),
            )
            seconds = time.perf_counter() - begun
            rows.append(_row(POLISH, space, number, end.x, float(np.exp(end.fun)), config, seconds))
    return rows


def _row(
    stage: str,
    space: SearchSpace,
    number: int,
    point: Float[np.ndarray, "dims"],
    score: float,
    config: Landscape,
    seconds: float,
) -> Row:
    (candidate,) = space.candidates(point[None], int(number))
    identity = (stage, space.family.name, candidate.number, label(num_steps=config.num_steps), 0)
    score = float(score)
    return Row(identity, candidate.base_lr, candidate.params, score, {METRIC: score}, seconds)


def _rows(search: Search, journal: Journal) -> list[Row]:
    return [row for row in journal.rows(search.name) if row.identity[1] == search.family]


def _is_finished(search: Search, config: Landscape, journal: Journal) -> bool:
    rows = _rows(search, journal)
    return bool(rows) and rows[-1].identity[2] == config.budgets[search.strategy] - 1


def _incumbents(search: Search, config: Landscape, journal: Journal) -> Incumbents:
    if not _is_finished(search, config, journal):
        raise UnfinishedStudy(f"the search {search.name!r} of {search.family} is missing")
    rows = _rows(search, journal)
    scores = np.array([row.score for row in rows])
    places = improvements(scores)
    family = config.spaces[search.family].family
    candidates = tuple(
        Candidate(family, row.identity[2], row.params, row.base_lr) for row in (rows[k] for k in places)
    )
    costs = np.array([candidate.number + 1.0 for candidate in candidates])
    return Incumbents(candidates, costs, scores[places], scores[places])
