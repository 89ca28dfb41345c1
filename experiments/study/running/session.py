"""A study while it runs: its folder, journal, devices and progress, opened together."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import workloads
from experiments.study.options.config import StudyConfig
from experiments.study.options.errors import StudyError, raise_problems
from experiments.study.running.devices import device_class
from experiments.study.running.evaluation import Evaluate, RunTrials, Trial, journaled
from experiments.study.running.execution import Execution
from experiments.study.running.processes import from_all, from_first, is_first
from experiments.study.running.progress import Progress
from experiments.study.running.runs import MakeRows, Runner
from experiments.study.running.segments import Segments
from experiments.study.running.setup import device_problems
from experiments.study.running.stopping import Stopped, StopRequest
from experiments.study.running.sweeping import Sweep
from experiments.study.storage.binding import bind
from experiments.study.storage.checkpoints import Checkpoints
from experiments.study.storage.folder import DEVICES, StudyFolder, locked, open_folder
from experiments.study.storage.journal import Journal, Row
from workloads import Workload


@dataclass(frozen=True)
class Session:
    """An open study. In a process other than the first, its journal is a copy in memory.

    Runs are recorded in chunks; where they are saved on the way, only as many together as are computed at a
    time, so that no finished run is lost, and only those under way take memory. The first chunk has as many
    runs as an earlier session left half-way.
    """

    folder: StudyFolder
    journal: Journal
    sweep: Sweep
    segments: Segments
    progress: Progress
    stop: StopRequest
    execution: Execution
    own: Workload | None
    loaded: Workload | None
    console: Console | None

    @property
    def workload(self) -> Workload:
        if self.loaded is None:
            raise TypeError("the study's config names no workload")
        return self.loaded

    def evaluator(
        self, runner: Callable[[], Runner], metric: str, chunk_runs: int | None, vectorize: int = 1
    ) -> Evaluate:
        """See `Runs`; between chunks the study may stop."""
        side_by_side = self.sweep.together(vectorize)
        chunk_runs = self.execution.chunk_runs or chunk_runs or side_by_side
        size = min(chunk_runs, side_by_side) if self.segments.are_saved else chunk_runs
        built: list[RunTrials] = []

        def run(trials: Sequence[Trial]) -> Sequence[Mapping[str, float]]:
            if not built:
                built.append(runner()(self.sweep, chunk_runs))
            return built[0](trials)

        interrupted = self.segments.interrupted_rows
        return journaled(self.journal, run, metric, size, self.progress, self.before_chunk, interrupted)

    def rows(self, stage: str, group: str, make: MakeRows, num_runs: int) -> list[Row]:
        """See `Runs`."""
        recorded = bool(self.journal.group(stage, group))
        self.progress.begin(stage, done=num_runs * recorded, remaining=num_runs * (not recorded))
        if not recorded:
            self.before_chunk()
            self.journal.record(make(self.sweep))
            self.progress.advance(num_runs)
        return self.journal.group(stage, group)

    def within(self, name: str, study: Any, config: StudyConfig) -> Any:
        """See `Runs`."""
        if self.console:
            self.console.print(name)
        folder, execution = self.folder.within(name).path, dataclasses.asdict(self.execution)
        return study.run(config, folder, self.own, console=self.console, **execution)

    def before_chunk(self, *trials: Trial) -> None:
        """A point between two chunks, before the one of these trials.

        Raises:
          Stopped: a signal asked for it, in whichever process.
          StudyError: the processes are about to run different trials.
        """
        states = from_all([self.stop.received, *_digest(trials)])
        if np.any(states[:, 0]):
            raise Stopped(states[:, 0].max())
        if np.any(states[:, 1:] != states[0, 1:]):
            raise StudyError("The processes disagree on what to run next: are their machines alike?")

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """See `Runs`. Process 0 alone calls `make`; what it made is the same in all."""
        return from_first(lambda: self.journal.once(name, make))


@contextlib.contextmanager
def open_session(
    folder: str | Path,
    config: StudyConfig,
    fields: Mapping[str, Any],
    execution: Execution,
    problems: Iterable[str] = (),
    *,
    own: Workload | None = None,
    loaded: Workload | None = None,
    console: Console | None = None,
) -> Iterator[Session]:
    """Open the study in `folder`, a new one where there is none, until the end of the `with` statement.

    In several processes (`jax.distributed`), each makes the same call, and the first alone uses the folder.

    Args:
      folder: where the study lives; no other process may use it meanwhile.
      config: the study's.
      fields: the content of config.json, but for the class of devices.
      execution: how it is made.
      problems: what is wrong with the config, beyond what it says of itself.
      own: the workload, where it is the caller's own.
      loaded: what is trained, if anything is.
      console: where progress is shown; nowhere when None.

    Raises StudyError, before anything is computed, where there are problems or not these devices, or the
    folder or the journal in it does not serve.
    """
    devices, parallel = execution.devices, config.data_parallel
    raise_problems([*problems, *execution.problems(), *device_problems(devices, parallel)])
    mesh = workloads.run_mesh(devices, data_parallel=parallel)
    quiet = console is None or not is_first()
    with contextlib.ExitStack() as stack:
        study = StudyFolder(Path(folder))
        journal = _open_journal(study, {**fields, DEVICES: device_class(mesh)}, own, stack)
        progress = stack.enter_context(Progress(config.planned_runs, console or Console(), quiet=quiet))
        stop = stack.enter_context(StopRequest((console or Console(quiet=True)).print))
        shown = None if quiet else console
        segments = Segments(Checkpoints(study.checkpoints), stop, execution, shown)
        sweep = Sweep(mesh, journal, segments, shown)
        yield Session(study, journal, sweep, segments, progress, stop, execution, own, loaded, console)
        segments.clear()


def _open_journal(
    study: StudyFolder, config: Mapping[str, Any], own: Workload | None, stack: contextlib.ExitStack
) -> Journal:
    """The folder's journal, and the folder locked as long as `stack` lasts; a copy in other processes."""
    opened = []

    def content() -> bytes:
        stack.enter_context(locked(study.path))
        open_folder(study.path, config)
        opened.append(stack.enter_context(Journal(study.journal)))
        bind(opened[0], study, config, own and workloads.fingerprint(own))
        return opened[0].content()

    copied = from_first(content)
    return opened[0] if opened else stack.enter_context(Journal.in_memory(copied))


def _digest(trials: Sequence[Trial]) -> list[int]:
    text = repr([(trial.identity, trial.base_lr, dict(trial.params)) for trial in trials])
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.uint32).tolist()
