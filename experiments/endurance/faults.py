"""Faults of the disk in the commands of a jobs folder: is all recorded, or nothing, and what then?"""

import contextlib
import io
import itertools
import json
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.endurance.apart import forkserver, keep_all_programs
from experiments.endurance.failing_disk import DEATH, KINDS, MOMENTS, Disk, Fault
from experiments.endurance.small_jobs import SEARCH, TRIALS, events_of, score, trial_files
from experiments.jobs import main, open_jobs
from experiments.jobs.creating import create_jobs
from experiments.study.running.stopping import follow_parent

TRACEBACK, REFUSED = 1, 2  # exit statuses; the latter has a message


class Ended(NamedTuple):
    """A command: its exit status, and what it said on the standard error."""

    status: int
    message: str


class Step(NamedTuple):
    """A command of a search on a disk that does not fail.

    Attributes:
      words: its command line without the folder.
      before, after: copies of the folder.
      operations: how many it did on the disk.
      status: its exit status.
    """

    words: tuple[str, ...]
    before: Path
    after: Path
    operations: int
    status: int


class Suffered(NamedTuple):
    """A fault in a command, and what is not as if nothing had happened."""

    step: Step
    fault: Fault
    problems: tuple[str, ...]


def suffer_all(count: int, seed: int, place: Path, compiled: Path) -> list[Suffered]:
    """So many faults, one at a time, at random operations of a search made in `place`, in this process."""
    steps = sound_search(place)
    faults = [
        (step, Fault(operation, moment, kind))
        for step in steps
        for operation, moment, kind in itertools.product(range(step.operations), MOMENTS, KINDS)
    ]
    random.Random(seed).shuffle(faults)
    chosen = itertools.islice(itertools.cycle(faults), count)
    return [Suffered(*fault, tuple(suffer(*fault, place / "suffering", compiled))) for fault in chosen]


def sound_search(place: Path) -> list[Step]:
    """Every command of a search whose disk does not fail."""
    folder, steps = place / "sound", []
    create_jobs(folder, SEARCH)
    start = _copy(folder, place / "0")
    for number, words in enumerate(_search(folder), 1):
        disk = Disk()
        status, _ = run(words, folder, disk)
        end = _copy(folder, place / str(number))
        steps.append(Step(words, start, end, disk.operations, status))
        start = end
    return steps


def suffer(step: Step, fault: Fault, folder: Path, compiled: Path) -> Iterator[str]:
    """Let a command fail in a copy of its folder and run it again; what is not as if nothing had happened."""
    shutil.rmtree(folder, ignore_errors=True)
    _copy(step.before, folder)
    if fault.kind == DEATH:
        yield from _die(step, fault, folder, compiled)
    else:
        yield from _fail(step, fault, folder)
    with tempfile.TemporaryDirectory() as place:  # in the folder, looking would undo what is half done
        seen = events_of(_copy(folder, Path(place, "copy")))
    if seen not in (events_of(step.before), events_of(step.after)):
        yield "something was half recorded"
    again = run(step.words, folder, Disk())
    if again.status != step.status:
        yield f"again, it ended with {again.status} and said {again.message!r}"
    if events_of(folder) != events_of(step.after):
        yield "again, it recorded something else"
    if trial_files(folder) != trial_files(step.after):
        yield "again, it wrote other files"


def _fail(step: Step, fault: Fault, folder: Path) -> Iterator[str]:
    status, message = run(step.words, folder, Disk(fault))
    if status != REFUSED or not message.startswith("error: ") or message.count("\n") != 1:
        yield f"it ended with {status} and said {message!r}"


def _die(step: Step, fault: Fault, folder: Path, compiled: Path) -> Iterator[str]:
    process = forkserver().Process(target=_run_apart, args=(step.words, folder, fault, compiled))
    process.start()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        yield f"it ended with {process.exitcode} where it should have died"


def run(words: Sequence[str], folder: Path, disk: Disk) -> Ended:
    """A command in this process."""
    word, *others = words
    message = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(message), disk.mounted():
        try:
            status = main([word, str(folder), *others])
        except Exception as error:
            return Ended(TRACEBACK, f"{type(error).__name__}: {error}")
    return Ended(status, message.getvalue())


def _search(folder: Path) -> Iterator[tuple[str, ...]]:
    """The commands of a worker that has every kind of result to tell, until the search has ended."""
    token = open_jobs(folder).status().token
    first, second = (f"{token}-{number:04d}" for number in (1, 2))
    yield "ask", "--count", "2", "--worker", "a"
    yield "tell", first, "0.9", "--step", "5"
    yield "tell", first, "0.5", "--sem", "0.1", "--metrics", "other=1"
    yield "tell", first, "0.6", "--replace"
    yield "tell", second, "--failed"
    yield "ask", "--worker", "a"
    yield "tell", second, "--diverged"
    yield ("status",)
    yield "add", "--family", "linear", "--params", "warmup=0.1", "--base-lr", "0.2"
    while not open_jobs(folder).status().finished:
        yield "ask", "--worker", "a"
        for trial in open_jobs(folder).status().pending:
            described = json.loads((folder / TRIALS / f"{trial.id}.json").read_text())
            yield "tell", trial.id, str(score(described["learning_rates"]))


def _run_apart(words: Sequence[str], folder: Path, fault: Fault, compiled: Path) -> None:
    follow_parent()
    keep_all_programs(compiled)
    run(words, folder, Disk(fault))


def _copy(folder: Path, copy: Path) -> Path:
    return Path(shutil.copytree(folder, copy))
