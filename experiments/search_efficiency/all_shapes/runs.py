"""The searches of the study, and how far their choices lie above the best curve known."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.search_efficiency.all_shapes import judging, optuna_asks
from experiments.search_efficiency.all_shapes.config import DEFAULT, AllShapes, Contestant, Search
from experiments.search_efficiency.all_shapes.judging import Excesses
from experiments.search_efficiency.all_shapes.searches import choices, make_search, search_best
from experiments.search_efficiency.training import CHUNK_RUNS, runner
from experiments.study.running.runs import Runs
from experiments.study.storage.journal import Tally
from schedules.search import Candidate, Scale, Verdict
from schedules.search.joint import Searched


class Known(NamedTuple):
    """The best curve known.

    Attributes:
      candidate: it.
      score: the median over the seeds that chose it among the finalists.
      origin: which search found it.
    """

    candidate: Candidate
    score: float
    origin: str


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was searched.
      known: the best curve known.
      verdict: of the largest search, on its winner.
      scale: of how far scores lie above the best known.
      excesses: of every contestant.
      versions: of the libraries of the incumbents.
      tally: how many runs there were.
    """

    config: AllShapes
    known: Known
    verdict: Verdict
    scale: Scale
    excesses: Mapping[Contestant, Excesses]
    versions: Mapping[str, str]
    tally: Tally

    @property
    def default(self) -> Excesses:
        return self.excesses[DEFAULT]

    @property
    def incumbents(self) -> list[Excesses]:
        """Those by Optuna's samplers."""
        return [held for name, held in self.excesses.items() if name.method in optuna_asks.SAMPLERS]

    def luckiest(self, place: int) -> Excesses:
        """The incumbent of the lowest median at a checkpoint."""
        return min(self.incumbents, key=lambda held: held.medians[place])

    def steadiest(self, place: int) -> Excesses:
        """The incumbent of the lowest 90th percentile at a checkpoint."""
        return min(self.incumbents, key=lambda held: held.worse_ends[place])


def conclude(config: AllShapes, runs: Runs) -> Results:
    """Search for the best curve, make all searches, and judge their choices by it."""
    samplers = sorted({search.contestant.method for search in config.searches} & optuna_asks.SAMPLERS.keys())
    # first, as without the libraries nothing should be trained
    versions = runs.once("versions of the incumbents", lambda: optuna_asks.versions(samplers))
    evaluate = runs.evaluator(lambda: runner(config, runs), config.metric, CHUNK_RUNS)
    searched = search_best(config, evaluate, runs.once)
    chosen, judged = {}, {}
    for place, search in enumerate(config.searches):
        scores = make_search(search, config, evaluate, runs.once)
        chosen[search] = choices(search, scores, config, runs.once)
        judged |= judging.judge(chosen[search], place * len(config.checkpoints), config, evaluate)
    origins = _finalists(chosen, judged, searched, config)
    finals = judging.final_scores(list(origins), config, evaluate)
    score, best = min(zip(finals, origins, strict=True), key=lambda pair: pair[0])
    scale = Scale.of(finals, list(judged.values()))
    compared = judging.excesses(chosen, judged, score, scale)
    return Results(
        config,
        Known(best, score, origins[best]),
        searched.verdict,
        scale,
        {held.contestant: held for held in compared},
        versions,
        runs.journal.tally(),
    )


def _finalists(
    chosen: Mapping[Search, Sequence[Candidate]],
    judged: Mapping[Candidate, float],
    searched: Searched,
    config: AllShapes,
) -> dict[Candidate, str]:
    """Candidates that may be the best known, and where each is from."""
    origins = {candidate: search.name for search, named in chosen.items() for candidate in named}
    best = sorted(judged, key=lambda candidate: judged[candidate])[: config.finalists]
    largest = f"the search of {config.known_runs:,} runs"
    verdict = searched.verdict
    return {
        **{candidate: origins[candidate] for candidate in best},
        verdict.winner.candidate: largest,
        verdict.best.found: f"{largest}, its last challenger",
    }
