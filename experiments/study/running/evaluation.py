"""Trials to scores: what the journal holds is remembered, the rest is run in chunks and recorded."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from experiments.study.options.errors import StudyError
from experiments.study.running.progress import Progress
from experiments.study.storage.alike import alike
from experiments.study.storage.journal import Identity, Journal, Row

LAST_BITS = 1e-12  # relative: what powers and roots may differ by in float64, from one C library to another


class Trial(Protocol):
    """A run of a study: the stage it belongs to, what tells it apart, and what it is tried with."""

    stage: str
    identity: Identity
    base_lr: float
    params: Mapping[str, float]


RunTrials = Callable[[Sequence[Trial]], Sequence[Mapping[str, float]]]
Evaluate = Callable[[Sequence[Trial]], dict[Trial, float]]


def journaled(
    journal: Journal,
    run: RunTrials,
    metric: str,
    chunk_runs: int,
    progress: Progress,
    before_chunk: Callable[..., None] = lambda *trials: None,
    interrupted: Callable[[], int | None] = lambda: None,
) -> Evaluate:
    """Evaluate by running what the journal lacks, at most `chunk_runs` trials at a time, each chunk recorded
    at once. The score is the metric, +inf where it is not finite.

    `before_chunk(*trials)` may raise, to end the study where nothing is lost. `interrupted()` is the number
    of runs of a chunk that was left half-way, for the chunk that comes next; None where there is none such.
    What `run` raises is raised with a note that says which runs it was.
    """

    def evaluate(trials: Sequence[Trial]) -> dict[Trial, float]:
        known = known_scores(journal, trials)
        missing = [trial for trial in trials if trial.identity not in known]
        progress.begin(trials[0].stage, done=len(trials) - len(missing), remaining=len(missing))
        while missing:
            size = interrupted() or chunk_runs
            chunk, missing = missing[:size], missing[size:]
            before_chunk(*chunk)
            rows = _run_chunk(run, chunk, metric)
            journal.record(rows)
            known.update((row.identity, row.score) for row in rows)
            progress.advance(len(chunk))
        return {trial: known[trial.identity] for trial in trials}

    return evaluate


def known_scores(journal: Journal, trials: Sequence[Trial]) -> dict[Identity, float]:
    """The scores of those that are recorded. Raises StudyError where one was tried with something else."""
    tried = journal.tried(trial.identity for trial in trials)
    for trial in trials:
        found = tried.get(trial.identity)
        tried_with = [trial.base_lr, dict(trial.params)]
        if found and not alike([found.base_lr, found.params], tried_with, LAST_BITS):
            raise StudyError(
                f"The journal's run {trial.identity} had base_lr {found.base_lr!r} and {found.params}, this"
                f" study's has {trial.base_lr!r} and {dict(trial.params)}: another version made it."
            )
    return {identity: found.score for identity, found in tried.items()}


def _run_chunk(run: RunTrials, chunk: Sequence[Trial], metric: str) -> list[Row]:
    begun = time.perf_counter()
    try:
        results = run(chunk)
    except Exception as error:
        error.add_note(
            f"In {len(chunk)} runs of the stage {chunk[0].stage!r}, the first of them {chunk[0].identity}."
            " What was recorded before is kept, and the same study resumes there."
        )
        raise
    seconds = (time.perf_counter() - begun) / len(chunk)
    return [
        Row(trial.identity, trial.base_lr, trial.params, _score(metrics[metric]), metrics, seconds)
        for trial, metrics in zip(chunk, results, strict=True)
    ]


def _score(value: float) -> float:
    return value if math.isfinite(value) else math.inf
