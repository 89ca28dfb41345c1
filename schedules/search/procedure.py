"""The search for the best shape of each family: ask, evaluate, tell.

1. screen: shapes × base learning rates × replicates. A shape's score is the best over learning rates of the
   median over replicates; a best rate on the grid's edge extends the grid for that shape.
2. select: the top shapes of each family again, at their best rates, with fresh seeds; the best is the winner.
3. confirm: each winner with many more fresh seeds. Only these scores are reported: the earlier ones chose
   the winner, and so flatter it.

Source of the procedure: Naganuma et al. (2026), arXiv:2603.10301; choosing and reporting on separate seeds is
this project's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from schedules.family import Family
from schedules.search.keys import named_key
from schedules.search.rates import RateGrid, best_rate, is_bracketed, next_rate
from schedules.search.strategies import History, Strategy
from schedules.search.trial import Shape, Trial

Evaluate = Callable[[Sequence[Trial]], Mapping[Trial, float]]

SCREEN, SELECT, CONFIRM = "screen", "select", "confirm"


@dataclass(frozen=True)
class Budget:
    """How much to measure; counts are of shapes, or of runs with different seeds."""

    shapes: int
    screen_replicates: int
    top: int
    select_replicates: int
    confirm_replicates: int
    max_extensions: int

    def __post_init__(self):
        for name, value in vars(self).items():
            least = 0 if name == "max_extensions" else 1
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")


class Screened(NamedTuple):
    """A shape with its median score at each learning rate measured, by the rate's index in the grid."""

    shape: Shape
    scores: Mapping[int, float]

    @property
    def best_rate(self) -> int:
        return best_rate(self.scores)

    @property
    def score(self) -> float:
        return self.scores[self.best_rate]

    @property
    def bracketed(self) -> bool:
        return is_bracketed(self.scores)


class Winner(NamedTuple):
    """The best shape of a family, and the scores of its fresh, confirming runs, one a replicate."""

    screened: Screened
    base_lr: float
    scores: Float[np.ndarray, "replicates"]


class Findings(NamedTuple):
    """A finished search: every family's screened shapes in the order asked, and its winner."""

    screened: Mapping[str, tuple[Screened, ...]]
    winners: Mapping[str, Winner]


def search_shapes(
    families: Sequence[Family],
    strategy: Callable[[int, int], Strategy],
    grid: RateGrid,
    budget: Budget,
    key: PRNGKeyArray,
    evaluate: Evaluate,
) -> Findings:
    """Search every family with the same budget.

    Args:
      families: what to search.
      strategy: (dimensions, batch) → the strategy that asks for points of a family's unit cube.
      grid: base learning rates, the same for every shape.
      budget: see `Budget`.
      key: what the shapes are drawn with.
      evaluate: trials → the score of each, +inf where it diverged; free to remember and to compute in any
        order. It is called with many trials at once.

    Raises:
      ValueError: two families share a name, or a score is NaN.
    """
    names = [family.name for family in families]
    if len(set(names)) < len(names):
        raise ValueError(f"families must have different names, got {names}")
    strategies = {family.name: strategy(len(family.space), budget.shapes) for family in families}
    histories = {name: one.init(named_key(key, "shapes", name)) for name, one in strategies.items()}
    screened: dict[str, tuple[Screened, ...]] = {family.name: () for family in families}
    while any(len(history.points) < budget.shapes for history in histories.values()):
        asked = {name: strategies[name].ask(history) for name, history in histories.items()}
        shapes = {f.name: shapes_at(f, histories[f.name], asked[f.name]) for f in families}
        scores = _screen(
            [shape for of_family in shapes.values() for shape in of_family], grid, budget, evaluate
        )
        for name, of_family in shapes.items():
            told = tuple(Screened(shape, scores[shape]) for shape in of_family)
            screened[name] += told
            best = np.array([one.score for one in told])
            histories[name] = strategies[name].tell(histories[name], asked[name], best)
    return Findings(screened, _winners(screened, grid, budget, evaluate))


def shapes_at(family: Family, history: History, points: Float[np.ndarray, "batch dims"]) -> tuple[Shape, ...]:
    """The shapes at points of the family's unit cube, numbered on from the history's."""
    params = {
        name: np.asarray(values, np.float32) for name, values in family.from_unit(jnp.asarray(points)).items()
    }
    first = len(history.points)
    return tuple(
        Shape(family, first + row, {name: float(values[row]) for name, values in params.items()})
        for row in range(len(points))
    )


def _screen(
    shapes: Sequence[Shape], grid: RateGrid, budget: Budget, evaluate: Evaluate
) -> dict[Shape, dict[int, float]]:
    """The median score of each shape at each learning rate, over the grid and then past its edges."""
    scores: dict[Shape, dict[int, float]] = {shape: {} for shape in shapes}
    wanted = [(shape, rate) for shape in shapes for rate in range(len(grid))]
    while wanted:
        medians = _medians(wanted, SCREEN, budget.screen_replicates, grid, evaluate)
        for shape, rate in wanted:
            scores[shape][rate] = medians[shape, rate]
        extensions = ((shape, next_rate(scores[shape], grid, budget.max_extensions)) for shape in shapes)
        wanted = [(shape, rate) for shape, rate in extensions if rate is not None]
    return scores


def _medians(
    wanted: Sequence[tuple[Shape, int]], stage: str, replicates: int, grid: RateGrid, evaluate: Evaluate
) -> dict[tuple[Shape, int], float]:
    return {
        pair: float(np.median(s)) for pair, s in _scores(wanted, stage, replicates, grid, evaluate).items()
    }


def _scores(
    wanted: Sequence[tuple[Shape, int]], stage: str, replicates: int, grid: RateGrid, evaluate: Evaluate
) -> dict[tuple[Shape, int], Float[np.ndarray, "replicates"]]:
    trials = {
        (shape, rate): [Trial(stage, shape, rate, grid[rate], replicate) for replicate in range(replicates)]
        for shape, rate in wanted
    }
    scores = evaluate([trial for of_pair in trials.values() for trial in of_pair])
    for trial, score in scores.items():
        if math.isnan(score):
            raise ValueError(f"a score must be a number, or +inf where a run diverged, got NaN for {trial}")
    return {pair: np.array([scores[trial] for trial in of_pair]) for pair, of_pair in trials.items()}


def _winners(
    screened: Mapping[str, Sequence[Screened]], grid: RateGrid, budget: Budget, evaluate: Evaluate
) -> dict[str, Winner]:
    # sorted is stable: equal scores stay in the order of the candidates' numbers
    top = {name: sorted(of, key=lambda one: one.score)[: budget.top] for name, of in screened.items()}
    pairs = [(one.shape, one.best_rate) for of_family in top.values() for one in of_family]
    selected = _medians(pairs, SELECT, budget.select_replicates, grid, evaluate)
    best = {
        name: min(of_family, key=lambda one: (selected[one.shape, one.best_rate], one.shape.number))
        for name, of_family in top.items()
    }
    pairs = [(one.shape, one.best_rate) for one in best.values()]
    confirmed = _scores(pairs, CONFIRM, budget.confirm_replicates, grid, evaluate)
    return {
        name: Winner(one, grid[one.best_rate], confirmed[one.shape, one.best_rate])
        for name, one in best.items()
    }
