"""A study, declared: one procedure asks for its runs, whether they are to be made or are remembered."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
from rich.console import Console

from experiments.study.command import Question, study_command
from experiments.study.options.config import StudyConfig
from experiments.study.options.errors import StudyError
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.running.execution import Execution, SavedExecution
from experiments.study.running.processes import from_first
from experiments.study.running.runs import Remembered, Runs, UnfinishedStudy
from experiments.study.running.session import open_session
from experiments.study.running.setup import workload_of
from experiments.study.showing.findings import Findings, show, write_report
from experiments.study.storage.alike import alike
from experiments.study.storage.binding import check_config
from experiments.study.storage.folder import (
    DEVICES,
    STUDY,
    StudyFolder,
    advice,
    locked,
    read_config,
    write_atomically,
)
from experiments.study.storage.journal import Journal
from workloads import Workload

ConfigT = TypeVar("ConfigT", bound=StudyConfig)
ResultsT = TypeVar("ResultsT")

WINNERS = "winners"  # the event that holds what winners.json told when the study ended
ROUNDING = 1e-6  # relative: as much as fits differ that end on another processor


@dataclass(frozen=True)
class Study(Generic[ConfigT, ResultsT]):
    """A study, declared.

    Attributes:
      name: that of its package.
      question: what it asks, in a line; the list of studies and the report say it.
      presets: the configs that a command line may start from, by name, the default first. Where there are
        several, the study's folder is runs/NAME_PRESET.
      conclude: (config, runs) → results. All runs are asked for here, in an order that the config and the
        scores so far decide; so the same call resumes a study, and reads a finished one.
      present: results → what is told of them.
      small: command lines that make it a study of seconds, by name, for tests and `endurance`.
      saved: whether its runs can be saved on the way.
      checkpoint_steps: of presets whose runs are long, how often they are.
      quick: what `--quick` changes of a preset, if there is that option.
      fill: (config, folder, execution) → the config that `--fill-memory` makes, if there is that option.
      questions: what a finished one can be asked on the command line, by name.
      float64: whether all of it is computed so.
    """

    name: str
    question: str
    presets: Mapping[str, ConfigT]
    conclude: Callable[[ConfigT, Runs], ResultsT]
    present: Callable[[ResultsT], Findings]
    small: Mapping[str, str] = field(default_factory=dict)
    saved: bool = False
    checkpoint_steps: Mapping[str, int] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    fill: Callable[[ConfigT, Path, Execution], ConfigT] | None = None
    questions: Mapping[str, Question] = field(default_factory=dict)
    float64: bool = False

    def run(
        self,
        config: ConfigT,
        folder: str | Path,
        workload: Workload | None = None,
        *,
        console: Console | None = None,
        **execution: Any,
    ) -> ResultsT:
        """Make the study, or go on with what `folder` holds; write its findings there.

        Args:
          config: it alone decides the results, bit for bit, on one device or on several.
          folder: where the study lives; the same config comes back to it and runs only what is missing.
          workload: what to train, when it is the caller's own; `config.workload` is then only its name.
          console: where progress is shown; nowhere when None.
          execution: what has no effect on the results; see `Execution`.

        Raises StudyError, before anything is trained, where the config, the folder or its journal does not
        serve.
        """
        own, problems, options = workload, [], self._execution_class(**execution)
        if isinstance(config, WorkloadConfig):
            workload, problems = workload_of(config, own)
        opened = open_session(
            folder, config, self.fields(config), options, problems, own=own, loaded=workload, console=console
        )
        with opened as session, self._precision():
            results = self.conclude(config, session)
            self._publish(results, config, session)
            return results

    def report(self, folder: str | Path) -> ResultsT:
        """The results of a finished study, whose findings are written again, without running anything.

        Raises StudyError where the folder holds no finished study of this name, its journal is another
        study's, or it is in use.
        """
        with self._remembered(folder) as runs:
            results = self.conclude(runs.config, runs)
            self._publish(results, runs.config, runs)
            return results

    def results(self, folder: str | Path) -> ResultsT:
        """Those of a finished study, without running or writing anything. Raises StudyError as `report`."""
        with self._remembered(folder) as runs:
            return self.conclude(runs.config, runs)

    def timed_keys(self, folder: str | Path) -> set[str]:
        """The keys of a finished study's winners.json, at any depth, that the clock decided."""
        return self.present(self.results(folder)).timed_keys()

    def show(self, results: ResultsT, folder: str | Path, console: Console) -> None:
        """Print the findings."""
        with self._precision():
            show(self.present(results), StudyFolder(Path(folder)), console)

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """The command line `[PRESET] [options]`, `report FOLDER` or a question; returns the exit status."""
        return study_command(self, arguments)

    def execution(self, preset: str) -> Execution:
        """How a study from that preset is made unless something else is said."""
        steps = {"checkpoint_steps": self.checkpoint_steps[preset]} if preset in self.checkpoint_steps else {}
        return self._execution_class(**steps)

    def fields(self, config: ConfigT) -> dict[str, Any]:
        """The content of config.json, but for the class of devices."""
        return {STUDY: self.name, **dataclasses.asdict(config)}

    def config_of(self, content: Mapping[str, Any], folder: StudyFolder) -> ConfigT:
        """The config that config.json holds. Raises StudyError where it is not one of this study's."""
        fields = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        if fields.pop(STUDY, None) != self.name:
            named = f"It is that of {content[STUDY]}." if STUDY in content else " ".join(advice([STUDY]))
            raise StudyError(f"{folder.config} is not the config of {self.name}. {named}")
        fields.pop(DEVICES, None)  # which decided the runs, and no more decides anything
        kinds = {frozenset(f.name for f in dataclasses.fields(p)): type(p) for p in self.presets.values()}
        kind = kinds.get(frozenset(fields), type(next(iter(self.presets.values()))))
        try:
            return kind(**fields)
        except (TypeError, StudyError) as error:
            raise StudyError(f"{folder.config} is not the config of {self.name}: {error}") from None

    @contextlib.contextmanager
    def _remembered(self, folder: str | Path) -> Iterator[Remembered]:
        """The runs of a finished study; raises StudyError where it is not, or not one of this name."""
        kept = StudyFolder(Path(folder))
        content = read_config(kept)
        config = self.config_of(content, kept)
        if not kept.journal.exists():
            raise StudyError(f"{folder} holds no journal: run the study first.")
        with locked(kept.path), Journal(kept.journal) as journal, self._precision():
            check_config(journal, kept, content)
            try:
                yield Remembered(kept, journal, config)
            except UnfinishedStudy as error:
                raise StudyError(f"{folder} is not finished ({error}): run the same study again.") from None

    def _publish(self, results: ResultsT, config: ConfigT, runs: Runs) -> None:
        """Write winners.json, figures and report.

        What differs from what was found when the study ended by no more than rounding is written as it was
        then: a redraw on another processor changes no byte of winners.json.
        """
        findings = self.present(results)
        told = json.loads(json.dumps(findings.json()))
        recorded = runs.once(WINNERS, lambda: told)
        told = recorded if alike(recorded, told, ROUNDING) else told

        def write() -> None:
            write_atomically(runs.folder.winners, json.dumps(told, indent=2) + "\n")
            write_report(findings, self.question, config, runs.folder)

        from_first(write)

    @property
    def _execution_class(self) -> type[Execution]:
        return SavedExecution if self.saved else Execution

    def _precision(self) -> contextlib.AbstractContextManager:
        return jax.enable_x64(True) if self.float64 else contextlib.nullcontext()
