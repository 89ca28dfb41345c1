"""Iterated local improvement: measure a box around a candidate, model it, go to what beats the candidate.

Many searches run side by side, so that an evaluation gets the trials of all at once. The candidates of a
stage are numbered through all of them: no two trials share an identity, whatever their families.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, PRNGKeyArray

from schedules.search.box import Box
from schedules.search.keys import named_key
from schedules.search.local_model import Measured, fit_quadratic, improvement_bound, lowest_point
from schedules.search.paired import paired_change, relative_scores
from schedules.search.racing import Evaluate, Rung, replicate_scores
from schedules.search.recall import Once
from schedules.search.scale import Scale
from schedules.search.strategy import numpy_generator
from schedules.search.trial import Candidate, SearchSpace

RANGE_FRACTION = 0.5  # of each shape parameter's range, spanned by the first box
OCTAVES = 2.0  # of the learning rate, likewise
CHALLENGERS = 2  # at most, of a round: the model's lowest point and the best one measured


class LocalSearch(NamedTuple):
    """What a local search knows.

    Attributes:
      space: where it looks.
      current: the best candidate so far; a challenger takes its place if it is better beyond the interval.
      finalist: the challenger that last seemed better, though not for sure; the current one if none did.
      measured: everything measured by model points.
      halvings: how often the box was halved, as no challenger won.
      accepted: how many did.
    """

    space: SearchSpace
    current: Candidate
    finalist: Candidate
    measured: Measured
    halvings: int
    accepted: int

    @classmethod
    def start(cls, space: SearchSpace, candidate: Candidate) -> "LocalSearch":
        return cls(space, candidate, candidate, Measured(), 0, 0)

    def box(self, centre: Candidate, halvings: int | float) -> Box:
        """The box around a candidate after so many halvings."""
        octaves = self.space.learning_rates.log_ratio / math.log(2)
        sides = np.array([RANGE_FRACTION] * (self.space.dimensions - 1) + [OCTAVES / octaves])
        return Box.around(self.space.point(centre), sides / 2**halvings)


class Rules(NamedTuple):
    """How the searches measure and decide.

    Attributes:
      rung: how points of a box are measured.
      points_per_coefficient: of a round's design, relative to the coefficients of a quadratic.
      challenge: fresh runs of the current candidate and its challengers.
      confidence: that an accepted challenger is better.
    """

    rung: Rung
    points_per_coefficient: float
    challenge: Rung
    confidence: float


def measure(
    stage: str,
    searches: Sequence[LocalSearch],
    design: Callable[[], Sequence[Float[np.ndarray, "_ _"]]],
    rung: Rung,
    evaluate: Evaluate,
    once: Once,
) -> tuple[list[LocalSearch], list[list[Candidate]], list[Float[np.ndarray, "_ _"]]]:
    """Measure the points that `design` has for each search: the searches that know them, the candidates,
    and their scores."""
    asked = _asked_once(stage, searches, design, once)
    candidates, scores = run_together(stage, [candidates for _, candidates in asked], rung, evaluate)
    knowing = [
        search._replace(measured=search.measured.add(points, results))
        for search, (points, _), results in zip(searches, asked, scores, strict=True)
    ]
    return knowing, candidates, scores


def run_together(
    stage: str, groups: Sequence[Sequence[Candidate]], rung: Rung, evaluate: Evaluate
) -> tuple[list[list[Candidate]], list[Float[np.ndarray, "_ replicates"]]]:
    """The candidates of all groups, numbered through, and each group's scores, from one evaluation."""
    ends = np.cumsum([len(group) for group in groups])
    flat = [replace(candidate, number=n) for n, candidate in enumerate(itertools.chain(*groups))]
    scores = np.array(replicate_scores(stage, flat, rung, evaluate)).reshape(-1, rung.replicates)
    candidates = [flat[end - len(group) : end] for end, group in zip(ends, groups, strict=True)]
    return candidates, np.split(scores, ends[:-1])


def improve(
    number: int,
    searches: Sequence[LocalSearch],
    rules: Rules,
    key: PRNGKeyArray,
    evaluate: Evaluate,
    once: Once,
) -> list[LocalSearch]:
    """Round `number` of every search; `key` draws the designs."""
    stage, challenge = f"improve {number}", f"challenge {number}"

    def designs() -> list[Float[np.ndarray, "points dims"]]:
        return [
            _design(search, rules.points_per_coefficient, named_key(key, stage, place))
            for place, search in enumerate(searches)
        ]

    measured, _, _ = measure(stage, searches, designs, rules.rung, evaluate, once)
    asked = _asked_once(challenge, measured, lambda: [_challengers(search) for search in measured], once)
    rivals = [
        [search.current, *challengers] for search, (_, challengers) in zip(measured, asked, strict=True)
    ]
    rivals, scores = run_together(challenge, rivals, rules.challenge, evaluate)
    return [
        _decide(search, group, results, rules.confidence)
        for search, group, results in zip(measured, rivals, scores, strict=True)
    ]


def remaining_improvement(search: LocalSearch, scale: Scale, confidence: float, key: PRNGKeyArray) -> float:
    """An upper confidence limit of level(finalist) - min level around it; +inf if nothing bounds it.

    Each box from the first to the last, in steps of √2, gives a limit over the box twice its size, or over
    the first where that is smaller; the lowest counts. A wide box shows the curvature better, a narrow one is
    better fitted by a quadratic.
    """
    centre = search.space.point(search.finalist)
    sizes = np.arange(0, search.halvings + 0.5, 0.5)
    each_confidence = 1 - (1 - confidence) / len(sizes)
    bounds = [math.inf]
    for place, halvings in enumerate(sizes):
        model = fit_quadratic(search.measured, search.box(search.finalist, halvings), scale)
        if model is not None:
            box = search.box(search.finalist, max(halvings - 1, 0))
            rng = numpy_generator(named_key(key, "bound", place))
            bounds.append(improvement_bound(model, centre, box, each_confidence, rng))
    return min(bounds)


def _asked_once(
    stage: str,
    searches: Sequence[LocalSearch],
    points: Callable[[], Sequence[Float[np.ndarray, "_ _"]]],
    once: Once,
) -> list[tuple[Float[np.ndarray, "_ _"], tuple[Candidate, ...]]]:
    """Each search's points and their candidates, as they were asked for in this stage."""
    made = once(
        stage,
        lambda: [search.space.proposals(design) for search, design in zip(searches, points(), strict=True)],
    )
    return [search.space.proposed(proposals, 0) for search, proposals in zip(searches, made, strict=True)]


def _design(
    search: LocalSearch, per_coefficient: float, key: PRNGKeyArray
) -> Float[np.ndarray, "points dims"]:
    """Points that fill the box evenly."""
    dimensions, box = search.space.dimensions, search.box(search.current, search.halvings)
    count = math.ceil(per_coefficient * (dimensions + 1) * (dimensions + 2) / 2)
    sequence = scipy.stats.qmc.Sobol(dimensions, rng=numpy_generator(key))
    return box.unscaled(2 * sequence.random_base2((count - 1).bit_length())[:count] - 1)


def _challengers(search: LocalSearch) -> Float[np.ndarray, "challengers dims"]:
    """The lowest point of the box's model, if it has one, and the best of the latest points that finished."""
    measured, scale, chosen = search.measured, search.measured.scale, []
    model = fit_quadratic(measured, search.box(search.current, search.halvings), scale)
    if model is not None:
        chosen.append(lowest_point(model, search.space.point(search.current)))
    levels = relative_scores(measured.scores[-1], scale).levels
    best = np.argmin(levels)
    if levels[best] < np.inf:
        chosen.append(measured.points[-1][best])
    return np.array(chosen).reshape(-1, search.space.dimensions)


def _decide(
    search: LocalSearch,
    rivals: Sequence[Candidate],
    scores: Float[np.ndarray, "rivals replicates"],
    confidence: float,
) -> LocalSearch:
    """The search after fresh runs of the current candidate, which is the first rival, and its challengers."""
    each_confidence, scale = 1 - (1 - confidence) / CHALLENGERS, Scale.of(scores)
    changes = [paired_change(row, scores[0], each_confidence, scale) for row in scores]
    best = int(np.argmin([change.value for change in changes]))
    if changes[best].high < 0:
        return search._replace(current=rivals[best], finalist=rivals[best], accepted=search.accepted + 1)
    finalist = rivals[best] if changes[best].value < 0 else search.current
    return search._replace(finalist=finalist, halvings=search.halvings + 1)
