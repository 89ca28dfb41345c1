"""Where a study's runs and decisions come from: made where they are missing, or read from a finished study.

A procedure asks for scores, and, by name, for what was decided once. It is the same where it runs, resumes
and is read back, when it finds all of both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from experiments.study.options.config import StudyConfig
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.running.evaluation import Evaluate, RunTrials, Trial, known_scores
from experiments.study.running.setup import load_workload
from experiments.study.running.sweeping import Sweep
from experiments.study.storage.binding import check_config
from experiments.study.storage.folder import StudyFolder, read_config
from experiments.study.storage.journal import Journal, Row
from workloads import Workload

Runner = Callable[[Sweep, int], RunTrials]  # (sweep, the most trials of a call) → trials to their metrics
MakeRows = Callable[[Sweep], Sequence[Row]]


class UnfinishedStudy(Exception):
    """Runs are missing from a journal that may only be read."""


class Runs(Protocol):
    """What a study asks of its folder: `Session` makes what is missing, `Remembered` raises
    UnfinishedStudy."""

    @property
    def folder(self) -> StudyFolder:
        """The study's."""

    @property
    def journal(self) -> Journal:
        """What was recorded so far."""

    @property
    def workload(self) -> Workload:
        """What is trained; to be asked for where something is made, as redrawing seldom needs it."""

    def evaluator(
        self, runner: Callable[[], Runner], metric: str, chunk_runs: int | None, vectorize: int = 1
    ) -> Evaluate:
        """Trials → the score of each: the metric, +inf where it is not finite.

        Args:
          runner: makes what runs trials; called where the first run is to be made.
          metric: the one that scores.
          chunk_runs: runs computed and recorded together at most, and the runner's capacity; as many as are
            computed at a time when None, where a run is long.
          vectorize: runs that a device computes side by side.
        """

    def rows(self, stage: str, group: str, make: MakeRows, num_runs: int) -> list[Row]:
        """The rows of a group that are made together by other means than an evaluator's: those recorded, else
        those of `make(sweep)`. `num_runs` is how many runs they are to be counted as."""

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What was decided under a name, as JSON holds it: read, or made and recorded where it is not there.

        For what computes more than comparisons of scores: its last bits are another processor's others.
        """

    def within(self, name: str, study: Any, config: StudyConfig) -> Any:
        """The results of another study, a `Study` with its config, in settings/NAME of this one's folder."""


@dataclass(frozen=True)
class Remembered:
    """The runs of a finished study, which its journal holds; see `Runs`."""

    folder: StudyFolder
    journal: Journal
    config: StudyConfig

    @property
    def workload(self) -> Workload:
        if not isinstance(self.config, WorkloadConfig):
            raise TypeError(f"{type(self.config).__name__} names no workload")
        return load_workload(self.config.workload, self.config.workload_options)

    def evaluator(
        self, runner: Callable[[], Runner], metric: str, chunk_runs: int | None, vectorize: int = 1
    ) -> Evaluate:
        return self.evaluate

    def evaluate(self, trials: Sequence[Trial]) -> Mapping[Trial, float]:
        known = known_scores(self.journal, trials)
        missing = sum(trial.identity not in known for trial in trials)
        if missing:
            raise UnfinishedStudy(f"{missing} runs of the stage {trials[0].stage!r} are missing")
        return {trial: known[trial.identity] for trial in trials}

    def rows(self, stage: str, group: str, make: MakeRows, num_runs: int) -> list[Row]:
        rows = self.journal.group(stage, group)
        if not rows:
            raise UnfinishedStudy(f"the stage {stage!r} of {group} is missing")
        return rows

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        if not self.journal.events(name):
            raise UnfinishedStudy(f"{name!r} is missing")
        return self.journal.once(name, make)

    def within(self, name: str, study: Any, config: StudyConfig) -> Any:
        folder = self.folder.within(name)
        if not folder.journal.exists():
            raise UnfinishedStudy(f"the study of {name} is missing")
        with Journal(folder.journal) as journal:
            check_config(journal, folder, read_config(folder))
            return study.conclude(config, Remembered(folder, journal, config))
