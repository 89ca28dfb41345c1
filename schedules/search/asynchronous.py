"""A search whose runs come back one by one, in any order: what to ask for next, from what was told so far.

1. explore: as `schedules.search.curves`, in blocks of runs with one seed. A block is proposed as soon as the
   one before it is given out, from what is told by then. A run that is pending counts in the covariance as if
   the model's mean had been told of it ("kriging believer", Ginsbourger et al. (2010),
   doi:10.1007/978-3-642-10701-6_6), so that functions drawn from the posterior agree where it lies and lead
   elsewhere. Where all of a block is told before the next is asked for, this is the search of `explore`.
2. confirm: the few candidates that the model expects most of, each with the same fresh seeds.
3. challenge: the verdict on the best of them; see `schedules.search.challenge`.

The last two ask for what they need at once, and go on when all of it is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.linalg import block_diag

from schedules.search.challenge import challenge
from schedules.search.curve_model import CurveModel
from schedules.search.curve_runs import Runs, is_enough, learning_rates, places_of
from schedules.search.curves import BEGUN, DRAWN, GROWTH, Scores, begun, leading, proposed, ranked
from schedules.search.joint import CurveBudget
from schedules.search.keys import named_key
from schedules.search.pool import places_of as cube_places_of
from schedules.search.pool import pool_of, promising, proposals_at
from schedules.search.procedure import Winner
from schedules.search.racing import CONFIRM, SCREEN
from schedules.search.recall import Once, anew
from schedules.search.strategy import numpy_generator
from schedules.search.trial import SearchSpace, Trial
from schedules.search.verdicts import Verdict

FINALISTS = 4  # candidates that are confirmed, at most
ADDED = "added"  # the stage of trials that the user asked for
LEAST_CONFIRM = 8  # fresh seeds of each: an interval of 95 % needs six
CHALLENGED = 96  # runs beyond the exploration from which half of them challenge the winner

Identity = tuple[str, str, int, str, int]  # that of a `Trial`


@dataclass(frozen=True)
class RunBudget:
    """What so many runs are spent on: exploration as of `CurveBudget`, then confirmation, and a challenge
    where there is enough for one.

    Attributes:
      runs: in all.
      num_steps: of every run, as the model sees it.
      batch: the fewest runs that share a seed.
      confidence: of the verdict.

    Raises ValueError for fewer than 24 runs, or a batch below 2.

    >>> budget = RunBudget(runs=120, num_steps=100)
    >>> budget.explored, budget.finalists, budget.replicates, budget.checks
    (72, 4, 12, 0)
    >>> budget = RunBudget(runs=400, num_steps=100)
    >>> budget.explored, budget.finalists, budget.replicates, budget.checks
    (240, 4, 20, 80)
    """

    runs: int
    num_steps: int
    batch: int = 8
    confidence: float = 0.95

    def __post_init__(self):
        CurveBudget(self.runs, families=1, num_steps=self.num_steps, batch=self.batch)

    @property
    def explored(self) -> int:
        return CurveBudget(self.runs, families=1, num_steps=self.num_steps).explored

    @property
    def finalists(self) -> int:
        return min(FINALISTS, max(1, self._confirming // LEAST_CONFIRM))

    @property
    def replicates(self) -> int:
        """Fresh seeds of each finalist."""
        return self._confirming // self.finalists

    @property
    def checks(self) -> int:
        """Runs of the challenge."""
        rest = self.runs - self.explored
        return rest // 2 if rest >= CHALLENGED else 0

    @property
    def _confirming(self) -> int:
        return self.runs - self.explored - self.checks


class History(NamedTuple):
    """What happened so far.

    Attributes:
      asked: every trial that was asked for, in that order.
      told: the scores that came back, by the trial's identity: lower is better, +inf where it diverged.
      imported: curves of runs that were made elsewhere, which the exploration learns from.
      imported_scores: theirs.
    """

    asked: Sequence[Trial]
    told: Mapping[Identity, float]
    imported: Float[np.ndarray, "runs *groups steps"]
    imported_scores: Float[np.ndarray, "runs"]

    @property
    def scores(self) -> dict[Trial, float]:
        """Of the trials that were told, in the order asked."""
        return {trial: self.told[trial.identity] for trial in self.asked if trial.identity in self.told}

    @property
    def pending(self) -> list[Trial]:
        return [trial for trial in self.asked if trial.identity not in self.told]


class Outcome(NamedTuple):
    """A finished search: the finalists with their confirming runs, the best first, and the verdict on it."""

    finalists: tuple[Winner, ...]
    verdict: Verdict


class Step(NamedTuple):
    """What comes next.

    Attributes:
      trials: to be asked for now; none while those asked for earlier are to be told first.
      outcome: of a search that is finished.
    """

    trials: tuple[Trial, ...] = ()
    outcome: Outcome | None = None


class _Untold(Exception):
    """Scores of trials are needed, of which some are not told."""

    def __init__(self, trials: Sequence[Trial]):
        super().__init__(f"{len(trials)} trials")
        self.trials = trials


def next_step(
    spaces: Mapping[str, SearchSpace],
    budget: RunBudget,
    key: PRNGKeyArray,
    history: History,
    once: Once = anew,
) -> Step:
    """What a search over all spaces asks for next; a function of its arguments alone.

    Args:
      spaces: by the name of their family.
      budget: see `RunBudget`. Trials of stages that are none of the search's come on top of it.
      key: what candidates are drawn with.
      history: see `History`. The replicate of a trial says which of them share a seed within a stage.
      once: as for `search_shapes`; decisions after the exploration are made through it.

    Raises ValueError where a score is NaN or -inf.
    """
    explored = [trial for trial in history.asked if trial.stage == SCREEN]
    if len(explored) < budget.explored:
        block = explored[-1].replicate + 1 if explored else 0
        proposals = _explored(spaces, budget, len(explored), history, key)
        candidates = proposed(spaces, proposals, history.asked)
        return Step(tuple(Trial(SCREEN, candidate, budget.num_steps, block) for candidate in candidates))
    try:
        return Step(outcome=_concluded(spaces, budget, key, history, once))
    except _Untold as untold:
        asked = {trial.identity for trial in history.asked}
        missing = [trial for trial in untold.trials if trial.identity not in asked]
        return Step(tuple(sorted(missing, key=lambda trial: trial.replicate)))


def model_of_runs(history: History) -> CurveModel | None:
    """The model of all that was told and imported; None where that is not enough for one."""
    scores = history.scores
    values = np.array([*history.imported_scores, *scores.values()])
    if not is_enough(values):
        return None
    curves = [*history.imported, *(trial.learning_rates for trial in scores)]
    seeds = [*map(str, range(len(history.imported))), *map(_seed, scores)]
    return CurveModel.fit(np.stack(curves), values, seeds)


def _seed(trial: Trial) -> str:
    return f"{trial.stage} {trial.replicate}"


def _explored(
    spaces: Mapping[str, SearchSpace], budget: RunBudget, first: int, history: History, key: PRNGKeyArray
) -> list[dict[str, Any]]:
    """The next block of the exploration, which begins at its run number `first`."""
    rest, size = budget.explored - first, max(budget.batch, first // GROWTH)
    size = size if rest - size >= budget.batch else rest
    scores = history.scores
    model = model_of_runs(history) if len(scores) + len(history.imported) >= BEGUN else None
    if model is None:
        return begun(spaces, first, size, key)
    key = named_key(key, "explore", first)
    generator = numpy_generator(named_key(key, "pool"))
    own = (
        [candidate for candidate in ranked(scores, model) if candidate.family.name in spaces]
        if scores
        else []
    )
    pool = pool_of(spaces, cube_places_of(spaces, leading(own)), DRAWN, budget.num_steps, generator)
    model = _believing(model, history.pending) if history.pending else model
    places = promising(model, pool, size, named_key(key, "functions"))
    return proposals_at(spaces, pool, places)


def _believing(model: CurveModel, pending: Sequence[Trial]) -> CurveModel:
    """The model as if its own means had been told of pending runs, each with luck of its own; the parameters
    stay."""
    curves = learning_rates([trial.learning_rates for trial in pending])
    places, runs = places_of(curves, model.unit_rate), model.runs
    means = model.parameters.covariance(places, runs.places) @ model.weights
    believed = Runs(
        np.concatenate([runs.places, places]),
        np.concatenate([runs.values, means]),
        block_diag(runs.shares, np.eye(len(pending))),
        np.concatenate([runs.counts, np.ones(len(pending), int)]),
    )
    return model._replace(runs=believed).under(model.parameters)


def _concluded(
    spaces: Mapping[str, SearchSpace], budget: RunBudget, key: PRNGKeyArray, history: History, once: Once
) -> Outcome:
    """The outcome of a search that has explored. Raises _Untold where it needs runs that are not told."""

    def evaluate(trials: Sequence[Trial]) -> Scores:
        if any(trial.identity not in history.told for trial in trials):
            raise _Untold(trials)
        return {trial: history.told[trial.identity] for trial in trials}

    scores = evaluate(
        [
            trial
            for trial in history.asked
            if trial.candidate.family.name in spaces and trial.stage in (SCREEN, ADDED)
        ]
    )
    candidates = {(trial.candidate.family.name, trial.candidate.number): trial.candidate for trial in scores}

    def best() -> list[list[str | int]]:
        order = ranked(scores, model_of_runs(history))
        return [[candidate.family.name, candidate.number] for candidate in order[: budget.finalists]]

    finalists = [candidates[name, number] for name, number in once("finalists", best)]
    seeds = range(budget.replicates)
    trials = [[Trial(CONFIRM, finalist, budget.num_steps, seed) for seed in seeds] for finalist in finalists]
    confirmed = evaluate([trial for group in trials for trial in group])
    winners = [
        Winner(finalist, np.array([confirmed[trial] for trial in group]))
        for finalist, group in zip(finalists, trials, strict=True)
    ]
    winners.sort(key=lambda winner: np.median(winner.scores))
    known, checking = {**scores, **confirmed}, named_key(key, "challenge")
    verdict, _ = challenge(
        winners[0], spaces, known, budget.checks, budget.confidence, checking, evaluate, once
    )
    return Outcome(tuple(winners), verdict)
