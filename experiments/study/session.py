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
from experiments.study.alike import alike
from experiments.study.binding import bind
from experiments.study.checkpoints import Checkpoints
from experiments.study.choices import StudyError, raise_problems
from experiments.study.devices import DEVICES, device_class
from experiments.study.evaluation import Evaluate, Runs, RunTrials, Trial, journaled
from experiments.study.folder import StudyFolder, make_folder, open_folder, write_atomically
from experiments.study.journal import Journal
from experiments.study.lock import locked
from experiments.study.processes import from_all, from_first, is_first
from experiments.study.progress import Progress
from experiments.study.segments import NOT_SAVED, Saving, Segments
from experiments.study.setup import device_problems
from experiments.study.stopping import Stopped, StopRequest
from experiments.study.sweeping import Sweep
from workloads import Workload

ResultsT = TypeVar("ResultsT")

WINNERS = "winners"  # the event that holds what winners.json told when the study ended
ROUNDING = 1e-6  # relative: as much as fits differ that end on another processor


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

    Runs are recorded in chunks; where they are `saved` on the way, only as many together as are computed at a
    time, so that no finished run is lost, and only those under way take memory. The first chunk has as many
    runs as `left` says, once, where an earlier session left them half-way.
    """

    folder: StudyFolder
    journal: Journal
    sweep: Sweep
    progress: Progress
    stop: StopRequest
    saved: bool
    left: Iterator[int]

    def evaluator(self, run: RunTrials, metric: str, chunk_runs: int, vectorize: int = 1) -> Evaluate:
        """See `journaled`; between chunks the study may stop."""
        size = min(chunk_runs, self.sweep.together(vectorize)) if self.saved else chunk_runs
        left = functools.partial(next, self.left, None)
        return journaled(self.journal, run, metric, size, self.progress, self.before_chunk, left)

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
def open_study(
    folder: str | Path,
    plan: StudyPlan,
    problems: Iterable[str] = (),
    *,
    own: Workload | None = None,
    devices: int | None,
    console: Console | None,
    saving: Saving = NOT_SAVED,
) -> Iterator[Session]:
    """Open the study in `folder`, a new one where there is none, until the end of the `with` statement.

    In several processes (`jax.distributed`), each makes the same call, and the first alone uses the folder.

    Args:
      folder: where the study lives; no other process may use it meanwhile.
      plan: its config, as far as all studies know it.
      problems: what is wrong with the config, beyond what it says of itself.
      own: the workload, where it is the caller's own.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      console: where progress is shown; nowhere when None.
      saving: when runs are saved on the way.

    Raises StudyError, before anything is computed, where there are problems or not these devices, or the
    folder or the journal in it does not serve.
    """
    raise_problems([*problems, *saving.problems(), *device_problems(devices, plan.data_parallel)])
    mesh = workloads.run_mesh(devices, data_parallel=plan.data_parallel)
    quiet = console is None or not is_first()
    with contextlib.ExitStack() as stack:
        study = StudyFolder(Path(folder))
        fields = {**plan.fields, DEVICES: device_class(mesh)}
        journal = _open_journal(study, fields, own, stack)
        progress = stack.enter_context(Progress(plan.planned_runs, console or Console(), quiet=quiet))
        stop = stack.enter_context(StopRequest((console or Console(quiet=True)).print))
        shown = None if quiet else console
        segments = Segments(Checkpoints(study.checkpoints), stop, saving, shown)
        left = iter(filter(None, [segments.rows_left()]))
        sweep = Sweep(mesh, journal, segments, shown)
        yield Session(study, journal, sweep, progress, stop, saving.checkpoint_steps > 0, left)
        segments.clear()


def publish(
    results: ResultsT,
    runs: Runs,
    winners_json: Callable[[ResultsT], Mapping[str, Any]],
    write_report: Callable[[ResultsT, StudyFolder], None],
) -> ResultsT:
    """Write winners.json, figures and report of the results, which are returned when they are there.

    What differs from what was found when the study ended by no more than rounding is written as it was then:
    a redraw on another processor changes no byte of winners.json.
    """
    found = json.loads(json.dumps(winners_json(results)))
    recorded = runs.once(WINNERS, lambda: found)
    found = recorded if alike(recorded, found, ROUNDING) else found

    def write() -> None:
        write_atomically(runs.folder.winners, json.dumps(found, indent=2) + "\n")
        make_folder(runs.folder.figures)
        write_report(results, runs.folder)

    from_first(write)
    return results


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
