"""Processes of a jobs folder killed at random moments: askers, tellers, and workers that do both."""

import collections
import contextlib
import json
import math
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from experiments.endurance.apart import forkserver, keep_all_programs
from experiments.endurance.small_jobs import SEARCH, Recorded, events_of, score, trial_files
from experiments.jobs import main, open_jobs
from experiments.jobs.creating import create_jobs
from experiments.study.options.errors import StudyError
from experiments.study.running.stopping import follow_parent

ASKER, TELLER, WORKER = PROCESSES = "asker", "teller", "worker"
SOONEST, LATEST = 0.005, 5.0  # seconds: a command takes hundredths of one, or seconds where it computes
SPARED = 0.5  # of all processes, so that a search gets on where the machine is slow
PAUSE = 0.05  # seconds between two asks
BY_COMMANDS = 4  # of so many workers all but one
GIVEN, WAITING, FINISHED = 0, 3, 4  # exit statuses
STATUSES = {ASKER: (GIVEN, WAITING, FINISHED), TELLER: (0,), WORKER: (WAITING, FINISHED)}  # where all is well


class Killed(NamedTuple):
    """Searches whose processes were killed.

    Attributes:
      searches: how many.
      started, killed: how many processes, of each kind of PROCESSES.
      problems: what is not as in a search of which none was killed.
    """

    searches: int
    started: dict[str, int]
    killed: dict[str, int]
    problems: tuple[str, ...]


def kill_all(count: int, workers: int, seed: int, place: Path, compiled: Path) -> Killed:
    """Search copies of one jobs folder, in `place`, until at least so many processes were killed."""
    blank, whole = place / "blank", place / "whole"
    create_jobs(blank, SEARCH)
    shutil.copytree(blank, whole)
    undisturbed = Search(whole, Killer(0, seed), compiled)
    undisturbed.run(1)
    killer, searches, problems = Killer(count, seed), 0, undisturbed.problems
    while killer.remaining and not problems:
        folder = Path(shutil.copytree(blank, place / str(searches)))
        search = Search(folder, killer, compiled)
        search.run(workers)
        problems = [*search.problems, *differences(whole, folder)]
        searches += 1
    return Killed(searches, dict(killer.started), dict(killer.killed), tuple(problems))


class Killer:
    """Starts processes, kills so many of them at random moments, and starts what it killed again.

    Attributes:
      started, killed: how many processes, by their kind.
    """

    def __init__(self, kills: int, seed: int):
        self.started, self.killed = collections.Counter(), collections.Counter()
        self._kills, self._random = kills, random.Random(seed)
        self._turn = threading.Lock()  # starting a process looks after all the others, which no two may do
        self._context = forkserver()  # begun in the main thread, whose signals it leaves alone

    @property
    def remaining(self) -> int:
        """How many are still to be killed."""
        return max(self._kills - self.killed.total(), 0)

    def status(self, kind: str, target: Callable[..., None], *arguments: Any) -> int:
        """The exit status with which such a process ends, once it is not killed."""
        while True:
            process = self._context.Process(target=target, args=arguments)
            with self._turn:
                process.start()
            self.started[kind] += 1
            ended = wait([process.sentinel], self._moment())
            with self._turn:
                if not ended:
                    process.kill()
                process.join()
            if process.exitcode != -signal.SIGKILL:
                return process.exitcode
            self.killed[kind] += 1

    def _moment(self) -> float | None:
        """Seconds of any order of magnitude, or None for a process that is spared."""
        if not self.remaining or self._random.random() < SPARED:
            return None
        return math.exp(self._random.uniform(math.log(SOONEST), math.log(LATEST)))


class Search:
    """A jobs folder that workers search at once, while what happens to its record is watched.

    Attributes:
      problems: what went wrong on the way.
    """

    def __init__(self, folder: Path, killer: Killer, compiled: Path):
        self._folder, self._killer, self._compiled = folder, killer, compiled
        self._events, self.problems = events_of(folder), []
        self._turn = threading.Lock()

    def run(self, workers: int) -> None:
        """Search to the end with so many workers, or to the first problem."""
        with ThreadPoolExecutor(workers) as threads:
            for _ in threads.map(self._work, range(workers)):
                pass

    def _work(self, worker: int) -> None:
        step = self._step_by_commands if worker % BY_COMMANDS else self._step_by_itself
        while not self.problems and step(str(worker)) != FINISHED:
            time.sleep(PAUSE)

    def _step_by_commands(self, worker: str) -> int:
        """Ask and tell once, in a process each, as a shell does; returns the exit status of the ask."""
        folder, output = str(self._folder), self._output(worker)
        status = self._status(ASKER, _command, ["ask", folder, "--worker", worker], output)
        if status == GIVEN:
            trial = json.loads(output.read_text())
            words = ["tell", folder, trial["id"], str(score(trial["learning_rates"]))]
            if self._status(TELLER, _command, words, output) == 0:
                self._look([trial["id"]])
        return status

    def _step_by_itself(self, worker: str) -> int:
        """Ask and tell in one process while there is something to ask for; returns its exit status."""
        told = self._output(worker)
        status = self._status(WORKER, _ask_and_tell, self._folder, worker, told)
        self._look(told.read_text().split())
        return status

    def _status(self, kind: str, target: Callable[..., None], *arguments: Any) -> int:
        status = self._killer.status(kind, target, *arguments, self._compiled)
        if status not in STATUSES[kind]:
            self.problems.append(f"{kind} ended with {status}")
        return status

    def _look(self, told: Collection[str]) -> None:
        """See whether trials that were reported as told are, and whether all that was recorded still is."""
        with self._turn:
            events = events_of(self._folder)
            if events[: len(self._events)] != self._events:
                self.problems.append("what was recorded did not stay")
            recorded = set(_trials(events, "told"))
            self.problems += [f"{trial} was reported as told, and lost" for trial in set(told) - recorded]
            self._events = events

    def _output(self, worker: str) -> Path:
        """A file for what its processes print or report."""
        path = self._folder.with_name(f"{self._folder.name} {worker}")
        path.touch()
        return path


def differences(whole: Path, folder: Path) -> Iterator[str]:
    """In what a finished search differs from one of which nothing was killed."""
    expected, found = (collections.Counter(events_of(place)) for place in (whole, folder))
    if missing := expected - found:
        yield f"{missing.total()} of {expected.total()} events are missing"
    if added := found - expected:
        yield f"{added.total()} events are not expected"
    claims = collections.Counter(_trials(events_of(folder), "claimed"))
    yield from (f"{trial} was given out {count} times" for trial, count in claims.items() if count > 1)
    if trial_files(whole) != trial_files(folder):
        yield "the files of its trials differ"
    try:
        open_jobs(folder).status()
    except StudyError as error:
        yield str(error)


def _trials(events: Sequence[Recorded], kind: str) -> list[str]:
    """Those that the events of a kind are about."""
    return [json.loads(event.content)["trial"] for event in events if event.kind == kind]


def _command(words: Sequence[str], output: Path, compiled: Path) -> None:
    follow_parent()
    keep_all_programs(compiled)
    with output.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        status = main(words)
    sys.exit(status)


def _ask_and_tell(folder: Path, worker: str, told: Path, compiled: Path) -> None:
    follow_parent()
    keep_all_programs(compiled)
    jobs = open_jobs(folder)
    while trial := jobs.ask(worker):
        jobs.tell(trial.id, score(trial.content()["learning_rates"]))  # as a shell reads them
        with told.open("a") as file:
            print(trial.id, file=file)
    sys.exit(FINISHED if jobs.status().finished else WAITING)
