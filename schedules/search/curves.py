"""One search over the shapes of all families: what a run tells of its curve, it tells of all curves.

1. begin: draws of the families with few parameters, spread evenly over those and the learning rates.
2. explore: batches of candidates of any family. One has the lowest mean under `CurveModel`, each other one is
   the best of a pool under a function drawn from the posterior (Thompson sampling).
3. refine: rounds in which every family runs those of its shapes that the model expects most of.

A run has one seed, a fresh one for each batch: the model takes its luck out, and no seed is searched so often
that shapes are fitted to it. A pool has draws of the families, and neighbours of the best candidates within
their families' parameters: so every candidate has a family, parameters and a base learning rate.
"""

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from jaxtyping import PRNGKeyArray

from schedules.search.curve_model import CurveModel
from schedules.search.curve_runs import is_enough
from schedules.search.keys import named_key
from schedules.search.pool import places_of, pool_of, promising, proposals_at
from schedules.search.racing import SCREEN, Evaluate, Raced, trial_scores
from schedules.search.recall import Once, anew
from schedules.search.strategy import numpy_generator
from schedules.search.trial import Candidate, SearchSpace, Trial

BEGUN = 16  # runs before the model is asked
SIMPLE = 4  # axes, at most, of the families that the search begins with
GROWTH = 16  # a later batch has a run for so many that were made
DRAWN = 24  # of each family, in a pool
PARENTS = 8  # the best candidates, whose neighbours a pool has
EACH = 2  # of them at most are of one family
FAMILY_DRAWN = 96  # in the pool of one family


Scores = Mapping[Trial, float]  # of runs in the order asked


@dataclass(frozen=True)
class Exploration:
    """How much to run before winners are chosen.

    Attributes:
      runs: before the refinement, each with one seed.
      batch: the fewest runs that share a seed.
      rounds: of the refinement.
      top: runs of each family in a round.
      num_steps: of every run.

    Raises ValueError for a batch below 2, whose seed's luck nothing would tell from its shape, no run or
    step, or a negative count.
    """

    runs: int
    batch: int
    rounds: int
    top: int
    num_steps: int

    def __post_init__(self):
        least = {"runs": 1, "batch": 2, "rounds": 0, "top": 1, "num_steps": 1}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")


def explore(
    spaces: Mapping[str, SearchSpace],
    budget: Exploration,
    key: PRNGKeyArray,
    evaluate: Evaluate,
    once: Once = anew,
) -> Scores:
    """The runs of a search over all spaces with their scores, in the order asked.

    Args:
      spaces: by the name of their family.
      budget: see `Exploration`.
      key: what candidates are drawn with.
      evaluate, once: as for `search_shapes`; the replicate of a trial is the number of its batch.

    Raises ValueError where a score is NaN or -inf.
    """
    scores: dict[Trial, float] = {}
    batches = itertools.count()

    def run(propose: Callable[[], list[dict[str, Any]]]) -> None:
        proposals = once(f"{SCREEN} from {len(scores)}", propose)
        candidates = proposed(spaces, proposals, scores)
        number = next(batches)
        trials = [Trial(SCREEN, candidate, budget.num_steps, number) for candidate in candidates]
        scores.update(trial_scores(trials, evaluate))

    while len(scores) < budget.runs:
        rest, size = budget.runs - len(scores), max(budget.batch, len(scores) // GROWTH)
        size = size if rest - size >= budget.batch else rest
        run(functools.partial(_explored, spaces, scores, size, key))
    for _ in range(budget.rounds):
        run(functools.partial(refined, spaces, scores, budget.top, key))
    return scores


def model_of(scores: Scores) -> CurveModel | None:
    """The model of runs; None where they are not enough for one."""
    if not is_enough(np.array(list(scores.values()))):
        return None
    curves = np.stack([trial.learning_rates for trial in scores])
    seeds = [f"{trial.stage} {trial.replicate}" for trial in scores]
    return CurveModel.fit(curves, np.array(list(scores.values())), seeds)


def ranked(scores: Scores, model: CurveModel | None) -> list[Candidate]:
    """The candidates that were run by what the model expects of them, the best first; without one by the
    lowest score of each."""
    curves = {trial.candidate: trial.learning_rates for trial in scores}
    candidates = list(curves)
    if model is not None:
        levels = model.means(np.stack(list(curves.values())))
    else:
        lowest = dict.fromkeys(candidates, np.inf)
        for trial, score in scores.items():
            lowest[trial.candidate] = min(lowest[trial.candidate], score)
        levels = np.array(list(lowest.values()))
    return [candidates[place] for place in np.argsort(levels, kind="stable")]


def leading(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first of these, few of one family: one that is ahead by luck is not to fill the pool."""
    places: dict[str, int] = collections.Counter()
    leaders = []
    for candidate in candidates:
        places[candidate.family.name] += 1
        if places[candidate.family.name] <= EACH:
            leaders.append(candidate)
    return leaders[:PARENTS]


def raced(scores: Scores, names: Sequence[str]) -> dict[str, tuple[Raced, ...]]:
    """Every family's candidates in the order asked, each with the score of its run."""
    groups: dict[str, list[Raced]] = {name: [] for name in names}
    for trial, score in scores.items():
        groups[trial.candidate.family.name].append(Raced(trial.candidate, (score,)))
    return {name: tuple(group) for name, group in groups.items()}


def proposed(
    spaces: Mapping[str, SearchSpace], proposals: Sequence[Mapping[str, Any]], earlier: Iterable[Trial] = ()
) -> list[Candidate]:
    """The candidates of `proposals`, numbered in their families after those of earlier trials."""
    counts = collections.Counter(trial.candidate.family.name for trial in earlier)
    candidates = []
    for proposal in proposals:
        name = proposal["family"]
        _, (candidate,) = spaces[name].proposed([proposal], counts[name])
        candidates.append(candidate)
        counts[name] += 1
    return candidates


def _explored(
    spaces: Mapping[str, SearchSpace], scores: Scores, size: int, key: PRNGKeyArray
) -> list[dict[str, Any]]:
    """The next batch of the search: of its beginning, or as the model proposes."""
    model = model_of(scores) if len(scores) >= BEGUN else None
    if model is None:
        return begun(spaces, len(scores), size, key)
    key = named_key(key, "explore", len(scores))
    generator = numpy_generator(named_key(key, "pool"))
    parents = places_of(spaces, leading(ranked(scores, model)))
    pool = pool_of(spaces, parents, DRAWN, num_steps_of(scores), generator)
    places = promising(model, pool, size, named_key(key, "functions"))
    return proposals_at(spaces, pool, places)


def begun(
    spaces: Mapping[str, SearchSpace], first: int, size: int, key: PRNGKeyArray
) -> list[dict[str, Any]]:
    """Draws of the families with the fewest parameters.

    The first axis of the sequence is the family's and the second the learning rate's: those two are the most
    even together. Families by turns would each have a part of the rates alone, for the points take turns too.
    """
    fewest = max(SIMPLE, min(space.dimensions for space in spaces.values()))
    simple = [name for name, space in spaces.items() if space.dimensions <= fewest]
    sequence = scipy.stats.qmc.Sobol(1 + fewest, rng=numpy_generator(named_key(key, "begin")))
    points = sequence.random_base2((first + size - 1).bit_length())[first : first + size]
    proposals = []
    for point in points.astype(np.float32):
        name = simple[min(int(point[0] * len(simple)), len(simple) - 1)]
        own = point[spaces[name].dimensions : 0 : -1]  # the last axis of a cube is the learning rate's
        proposals.append({"family": name, **spaces[name].proposals(own[None])[0]})
    return proposals


def refined(
    spaces: Mapping[str, SearchSpace], scores: Scores, top: int, key: PRNGKeyArray
) -> list[dict[str, Any]]:
    """Of every family, the candidates of the lowest mean in a pool of its own."""
    model = model_of(scores)
    if model is None:
        return begun(spaces, len(scores), top * len(spaces), key)
    best = ranked(scores, model)
    generator = numpy_generator(named_key(key, "refine", len(scores)))
    proposals = []
    for name, space in spaces.items():
        parents = [candidate for candidate in best if candidate.family.name == name][:PARENTS]
        pool = pool_of(
            {name: space}, places_of(spaces, parents), FAMILY_DRAWN, num_steps_of(scores), generator
        )
        proposals += proposals_at(
            spaces, pool, np.argsort(model.means(pool.curves), kind="stable")[:top].tolist()
        )
    return proposals


def num_steps_of(scores: Scores) -> int:
    """Of every run, which is the same for all."""
    return next(iter(scores)).num_steps
