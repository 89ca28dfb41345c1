"""How much better than a winner can any curve be? Asked of the model, and of runs that it proposes for this.

1. challenge: rounds of curves that the posterior holds for better, of all families and of one that is as free
   as a curve (`OPEN`), begun from the winner's own; each round on a few fresh seeds, the winner among them.
2. check: the best of them against the winner, on fresh paired seeds that chose nothing.
3. bound: functions are drawn from the posterior of all these runs, and of each the lowest curve is searched;
   δ is an upper confidence limit of what that saves of the score of the better of the two.

This is the project's own.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from schedules.families import FAMILIES
from schedules.groups import grouped_as
from schedules.search.curve_functions import Functions, plausible
from schedules.search.curve_model import CurveModel
from schedules.search.curves import DRAWN, PARENTS, Scores, model_of, num_steps_of, proposed, ranked
from schedules.search.keys import named_key
from schedules.search.near_optimality import free_start
from schedules.search.paired import paired_change
from schedules.search.pool import Pool, neighbours_of, places_of, pool_of, promising, proposals_at
from schedules.search.procedure import Winner
from schedules.search.racing import CONFIRM, Evaluate, Rung, replicate_scores, trial_scores
from schedules.search.recall import Once, anew
from schedules.search.scale import Scale
from schedules.search.scoring import Estimate
from schedules.search.strategy import numpy_generator
from schedules.search.trial import Candidate, SearchSpace, Trial
from schedules.search.verdicts import Finding, Verdict

CHECK = "check"
OPEN = "free"  # the family of challengers from outside the winner's own
CHECKED = 0.25  # of the runs, for the last comparison
ROUNDS = 12  # at most
SEEDS = 4  # of a round, the same for all its curves
LEAST_ROUND = 16  # runs
FUNCTIONS = 8  # that the bound takes the lowest curve of, of each set of parameters
DEEPENED, NEAR = 24, 4  # how often it moves on, and to the lowest of how many neighbours of each curve
WIDEST, SHRINKING = 0.4, 0.87  # how far those are at first, on the axes of the cube, and later for before


def challenge(
    winner: Winner,
    spaces: Mapping[str, SearchSpace],
    scores: Scores,
    runs: int,
    confidence: float,
    key: PRNGKeyArray,
    evaluate: Evaluate,
    once: Once = anew,
) -> tuple[Verdict, Scores]:
    """The verdict on the best winner, whose one finding is among all curves; and all runs that it rests on.

    Args:
      winner: it, with its confirming runs.
      spaces: of all families, by name.
      scores: of the search's runs.
      runs: what the challenge may cost.
      confidence: of the verdict.
      key: what challengers are drawn with.
      evaluate, once: as for `search_shapes`. The stages are "challenge k" and "check".

    Raises ValueError where a score is NaN or -inf.
    """
    num_steps = num_steps_of(scores)
    own = winner.candidate
    free = grouped_as(own.family, FAMILIES[OPEN])
    fields = {**spaces, OPEN: SearchSpace(free, spaces[own.family.name].learning_rates)}
    start = Candidate(free, 0, **once("open start", lambda: free_start(own).proposal))
    known = {**scores, **_runs(CONFIRM, own, num_steps, winner.scores)}
    challengers: list[Candidate] = []
    checked = round(CHECKED * runs / 2)
    rounds = min(ROUNDS, (runs - 2 * checked) // LEAST_ROUND)
    for number in range(rounds):
        stage, size = f"challenge {number}", (runs - 2 * checked) // rounds // SEEDS - 1
        propose = functools.partial(_challengers, fields, known, start, size, named_key(key, stage))
        asked = [
            replace(candidate, number=place)  # the winner keeps its own, below these
            for place, candidate in enumerate(proposed(fields, once(stage, propose)), own.number + 1)
        ]
        trials = [Trial(stage, rival, num_steps, seed) for rival in (own, *asked) for seed in range(SEEDS)]
        known |= trial_scores(trials, evaluate)
        challengers += asked
    found, change, scale = own, Estimate(0.0, 0.0, 0.0), Scale.of(list(known.values()))
    if challengers and checked:
        found = challengers[once("challenger", lambda: _best(known, challengers))]
        reference, results = replicate_scores(CHECK, [own, found], Rung(checked, num_steps), evaluate)
        known |= _runs(CHECK, own, num_steps, reference) | _runs(CHECK, found, num_steps, results)
        scale = Scale.of(list(known.values()))
        change = paired_change(results, reference, confidence, scale)
    better = found if change.high < 0 else own
    bound = functools.partial(_remaining, fields, known, start, better, confidence, named_key(key, "bound"))
    finding = Finding(own, found, int(change.high < 0), change, once("remaining", bound))
    return Verdict(winner, scale, (), finding, None), known


def _runs(
    stage: str, candidate: Candidate, num_steps: int, scores: Float[np.ndarray, "replicates"]
) -> dict[Trial, float]:
    """A candidate's replicates in a stage, with their scores."""
    return {Trial(stage, candidate, num_steps, seed): score for seed, score in enumerate(scores.tolist())}


def _challengers(
    spaces: Mapping[str, SearchSpace], scores: Scores, start: Candidate, size: int, key: PRNGKeyArray
) -> list[dict[str, Any]]:
    model = model_of(scores)
    if model is None:
        return [start.proposal | {"family": OPEN, "point": spaces[OPEN].point(start).tolist()}]
    pool = _pool(spaces, scores, model, start, key)
    (expected,) = promising(model, pool, 1, key)
    functions = Functions.of([model], size - 1, named_key(key, "functions"))
    pool = pool.at([expected]).with_all(_lowest(spaces, pool, functions, named_key(key, "lowest")))
    return proposals_at(spaces, pool, range(size))


def _best(scores: Scores, challengers: Sequence[Candidate]) -> int:
    """Which of the challengers the model expects most of."""
    place = {candidate: place for place, candidate in enumerate(challengers)}
    return next(place[candidate] for candidate in ranked(scores, model_of(scores)) if candidate in place)


def _remaining(
    spaces: Mapping[str, SearchSpace],
    scores: Scores,
    start: Candidate,
    better: Candidate,
    confidence: float,
    key: PRNGKeyArray,
) -> float:
    """What the lowest curve under a function saves of the score of the better candidate, at most."""
    model = model_of(scores)
    if model is None:
        return math.inf
    models = plausible(model, named_key(key, "parameters"))
    functions = Functions.of(models, FUNCTIONS, named_key(key, "functions"))
    lowest = _lowest(spaces, _pool(spaces, scores, model, start, key), functions, named_key(key, "lowest"))
    own = Trial(CHECK, better, num_steps_of(scores), 0).learning_rates
    levels = functions(np.concatenate([own[None], lowest.curves]))
    gains = levels[:, 0] - np.min(levels, axis=1)
    gain = float(np.quantile(gains, confidence, method="higher"))
    return -math.expm1(-gain) if model.values.scale is Scale.RELATIVE else gain


def _lowest(spaces: Mapping[str, SearchSpace], pool: Pool, functions: Functions, key: PRNGKeyArray) -> Pool:
    """The lowest curve under each function: of a pool, and of what lies ever nearer to its lowest curves. The
    lowest of the pool alone is far above the lowest of all curves."""
    generator, levels = numpy_generator(key), functions(pool.curves)
    for number in range(DEEPENED):
        lowest = np.argmin(levels, axis=1).tolist()
        best = pool.at(lowest)
        neighbours = neighbours_of(spaces, best, NEAR, WIDEST * SHRINKING**number, generator)
        pool = best.with_all(neighbours)
        levels = np.concatenate([levels[:, lowest], functions(neighbours.curves)], axis=1)
    return pool.at(np.argmin(levels, axis=1).tolist())


def _pool(
    spaces: Mapping[str, SearchSpace],
    scores: Scores,
    model: CurveModel,
    start: Candidate,
    key: PRNGKeyArray,
) -> Pool:
    """Draws of every family, and neighbours of the best curves and of the start."""
    parents = places_of(spaces, [*ranked(scores, model)[:PARENTS], start])
    return pool_of(spaces, parents, DRAWN, num_steps_of(scores), numpy_generator(named_key(key, "pool")))
