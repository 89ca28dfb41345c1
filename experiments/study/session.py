"""A study while it runs: its folder, journal, devices and progress, opened together."""

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from rich.console import Console

import workloads
from experiments.study.checkpoints import Checkpoints
from experiments.study.checks import NotNegative, value_problems
from experiments.study.choices import StudyError, raise_problems
from experiments.study.evaluation import Evaluate, RunTrials, Trial, journaled
from experiments.study.folder import StudyFolder, make_folder, open_folder, write_atomically
from experiments.study.journal import Journal
from experiments.study.lock import locked
from experiments.study.processes import from_all, from_first, is_first
from experiments.study.progress import Progress
from experiments.study.segments import SAVE_EVERY_SECONDS, Segments
from experiments.study.setup import device_problems
from experiments.study.stopping import Stopped, StopRequest
from experiments.study.sweeping import Sweep

ResultsT = TypeVar("ResultsT")


class StudyPlan(Protocol):
    """What a study is opened with."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The content of config.json."""

    @property
    def planned_runs(self) -> int:
        """How many runs are expected."""

    @property
    def data_parallel(self) -> int:
        """How many devices compute a run together."""


@dataclass(frozen=True)
class Session:
    """An open study. In a process other than the first, its journal is a copy in memory.

    Its first chunk has as many runs as `left` says, once, where an earlier session left them half-way.
    """

    folder: StudyFolder
    journal: Journal
    sweep: Sweep
    progress: Progress
    stop: StopRequest
    left: Iterator[int]

    def evaluator(self, run: RunTrials, metric: str, chunk_runs: int) -> Evaluate:
        """See `journaled`; between chunks the study may stop."""
        left = functools.partial(next, self.left, None)
        return journaled(self.journal, run, metric, chunk_runs, self.progress, self.before_chunk, left)

    def together(self, chunk_runs: int, checkpoint_steps: int, vectorize: int = 1) -> int:
        """How many runs to record together. Where they are saved on the way, only as many as are computed at
        a time, so that no finished run is lost, and only those under way take memory."""
        return min(chunk_runs, self.sweep.together(vectorize)) if checkpoint_steps else chunk_runs

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

    def once(self, path: Path, make: Callable[[], Any]) -> Any:
        """The JSON value of the file; of `make()`, written there, where there is none."""

        def value() -> Any:
            if not path.exists():
                write_atomically(path, json.dumps(make(), indent=2) + "\n")
            return json.loads(path.read_text())

        return from_first(value)


@contextlib.contextmanager
def open_study(
    folder: str | Path,
    plan: StudyPlan,
    problems: Iterable[str] = (),
    *,
    devices: int | None,
    console: Console | None,
    checkpoint_seconds: float = SAVE_EVERY_SECONDS,
) -> Iterator[Session]:
    """Open the study in `folder`, a new one where there is none, until the end of the `with` statement.

    In several processes (`jax.distributed`), each makes the same call, and the first alone uses the folder.

    Args:
      folder: where the study lives; no other process may use it meanwhile.
      plan: its config, as far as all studies know it.
      problems: what is wrong with the config, beyond what it says of itself.
      devices: how many devices to use, all when None.
      console: where progress is shown; nowhere when None.
      checkpoint_seconds: the least time from one checkpoint to the next.

    Raises StudyError, before anything is computed, where there are problems or not these devices, or the
    folder or the journal in it does not serve.
    """
    often = value_problems("checkpoint_seconds", checkpoint_seconds, NotNegative)
    raise_problems([*problems, *often, *device_problems(devices, plan.data_parallel)])
    mesh = workloads.run_mesh(devices, data_parallel=plan.data_parallel)
    quiet = console is None or not is_first()
    with contextlib.ExitStack() as stack:
        study = StudyFolder(Path(folder))
        journal = stack.enter_context(_open_journal(study, plan.fields, stack))
        progress = stack.enter_context(Progress(plan.planned_runs, console or Console(), quiet=quiet))
        stop = stack.enter_context(StopRequest((console or Console(quiet=True)).print))
        shown = None if quiet else console
        segments = Segments(Checkpoints(study.checkpoints), stop, checkpoint_seconds, shown)
        left = iter(filter(None, [segments.rows_left()]))
        yield Session(study, journal, Sweep(mesh, journal, segments, shown), progress, stop, left)
        segments.clear()


def publish(
    results: ResultsT,
    folder: StudyFolder,
    winners_json: Callable[[ResultsT], Mapping[str, Any]],
    write_report: Callable[[ResultsT, StudyFolder], None],
) -> ResultsT:
    """Write winners.json, figures and report of the results, which are returned when they are there."""

    def write() -> None:
        write_atomically(folder.winners, json.dumps(winners_json(results), indent=2) + "\n")
        make_folder(folder.figures)
        write_report(results, folder)

    from_first(write)
    return results


def _open_journal(study: StudyFolder, config: Mapping[str, Any], stack: contextlib.ExitStack) -> Journal:
    """The folder's journal, and the folder locked as long as `stack` lasts; a copy in other processes."""
    opened = []

    def content() -> bytes:
        stack.enter_context(locked(study.path))
        opened.append(Journal(open_folder(study.path, config).journal))
        return opened[0].content()

    copied = from_first(content)
    return opened[0] if opened else Journal.in_memory(copied)


def _digest(trials: Sequence[Trial]) -> list[int]:
    text = repr([(trial.identity, trial.base_lr, dict(trial.params)) for trial in trials])
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.uint32).tolist()
