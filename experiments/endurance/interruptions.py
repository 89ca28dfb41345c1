"""Studies interrupted at random moments and run again: do they end as if nothing had happened?"""

import collections
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Column, Table

from experiments.endurance.apart import STUDIES, SmallStudy, Studies, finish, forkserver, output_of, start
from experiments.endurance.evidence import journals, lost_rows, recorded, run_count, untimed, winners
from experiments.endurance.measuring import Bar, scratch_folder, show_bars
from experiments.studies import load
from experiments.study.options.checks import Checked, Count
from experiments.study.options.errors import StudyError
from experiments.study.options.pairs import Folder
from experiments.study.running.stopping import follow_parent

STAGES = NO_JOURNAL, NO_RUN, SOME_RUNS, ALL_RUNS, ENDED = (  # what there was of it
    "no journal",
    "no run yet",
    "some runs",
    "all runs",
    "its end",
)
STATUSES = {  # of an interrupted study: whether the signal found it running, stopping in order, or at its end
    "KILL": (-signal.SIGKILL, 0),
    "TERM": (-signal.SIGTERM, 128 + signal.SIGTERM, 0),
}


class Interruption(NamedTuple):
    """A study that was interrupted and run again.

    Attributes:
      moment: seconds after its start.
      stage: of STAGES, how far it had come.
      status: its exit status.
      problems: what is not as if nothing had happened.
    """

    moment: float
    stage: str
    status: int
    problems: tuple[str, ...]


class Endured(NamedTuple):
    """All interruptions of a study, and the runs and seconds of it uninterrupted."""

    study: str
    runs: int
    seconds: float
    interruptions: tuple[Interruption, ...]

    @property
    def equal(self) -> int:
        return sum(not interruption.problems for interruption in self.interruptions)


@dataclass(frozen=True)
class Interruptions(Checked):
    """Interrupt every study at random moments, run it again to its end, and compare with an uninterrupted one
    bit for bit: all rows of all journals, and winners.json."""

    studies: Studies = tuple(STUDIES)
    """What to interrupt."""
    moments: Count = 20
    """How often while it runs, each in a fresh folder; uniform over the time the study takes. Where it ended
    before, it is compared all the same, and another moment is drawn before that one."""
    signal: Literal["KILL", "TERM"] = "KILL"
    """How: SIGKILL, or SIGTERM, which a study meets between two chunks."""
    seed: int = 0
    """Root of the moments."""
    jobs: Count = 2
    """Studies at the same time."""
    folder: Folder | None = None
    """Where all of them are kept; a temporary folder when not given."""

    def report(self, console: Console) -> bool:
        """Print what became of every study; returns whether all bars held."""
        with scratch_folder(self.folder) as scratch:
            endured = []
            for measured in self._measured(scratch):
                console.print(f"{measured.study}: {measured.equal} of {len(measured.interruptions)} equal")
                endured.append(measured)
        console.print(_table(endured))
        return show_bars((_bar(measured) for measured in endured), console)

    def _measured(self, scratch: Path) -> Iterator[Endured]:
        with ProcessPoolExecutor(self.jobs, mp_context=forkserver(), initializer=follow_parent) as pool:
            yield from pool.map(self.measure, self.studies, [scratch] * len(self.studies))

    def measure(self, name: str, scratch: Path) -> Endured:
        """One study, in a folder of its own in `scratch`.

        Raises StudyError where it fails uninterrupted, or two uninterrupted ones differ.
        """
        study, place = STUDIES[name], scratch / name
        place.mkdir()
        whole, again, compiled = place / "whole", place / "again", place / "compiled"
        finish(study, whole, compiled)
        seconds = finish(study, again, compiled)
        problems = differences(study, whole, again)
        if problems:
            raise StudyError(f"{name}: uninterrupted, it differs from itself: {'; '.join(problems)}.")
        moments = random.Random(f"{name} {self.seed}")
        interruptions, latest = [], seconds
        while sum(interruption.stage != ENDED for interruption in interruptions) < self.moments:
            moment, folder = moments.uniform(0, latest), place / str(len(interruptions))
            # with programs of its own, so that the first ones are interrupted while compiling
            interruption = self.interrupt(study, moment, folder, whole, place / "compiled again")
            latest = moment if interruption.stage == ENDED else latest
            interruptions.append(interruption)
        return Endured(name, run_count(recorded(whole)), seconds, tuple(interruptions))

    def interrupt(
        self, study: SmallStudy, moment: float, folder: Path, whole: Path, compiled: Path
    ) -> Interruption:
        """Start the study in `folder`, interrupt it after `moment` seconds, run it again to its end, and
        compare with the one in `whole`."""
        process = start(study, folder, compiled)
        process.join(moment)
        ended = process.exitcode is not None
        {"KILL": process.kill, "TERM": process.terminate}[self.signal]()
        process.join()
        problems, kept = [], recorded(folder)
        stage = ENDED if ended else _stage(folder, run_count(kept), run_count(recorded(whole)))
        if process.exitcode not in STATUSES[self.signal]:
            problems.append(f"interrupted, it ended with {process.exitcode}, see {output_of(folder)}")
        try:
            finish(study, folder, compiled)
        except StudyError as error:
            return Interruption(moment, stage, process.exitcode, (*problems, str(error)))
        gone = lost_rows(kept, recorded(folder))
        if gone:
            problems.append(f"{gone} of {len(kept)} recorded rows were lost or run again")
        problems += differences(study, whole, folder)
        return Interruption(moment, stage, process.exitcode, tuple(problems))


def differences(study: SmallStudy, whole: Path, other: Path) -> list[str]:
    """In what two finished studies of the same config differ, but for times."""
    expected, found = untimed(recorded(whole)), untimed(recorded(other))
    rows = sum(expected.get(place) != found.get(place) for place in expected.keys() | found.keys())
    problems = [f"{rows} of {len(expected)} rows differ"] if rows else []
    timed = load(study.study).timed_keys(whole)
    if winners(whole, timed) != winners(other, timed):
        problems.append("winners.json differs")
    return problems


def _stage(folder: Path, kept: int, runs: int) -> str:
    if not journals(folder):
        return NO_JOURNAL
    if not kept:
        return NO_RUN
    return SOME_RUNS if kept < runs else ALL_RUNS


def _table(endured: list[Endured]) -> Table:
    named = Column("study", min_width=max(map(len, STUDIES)))  # the headings give way
    table = Table(named, "runs", "s", *(f"at {stage}" for stage in STAGES), "exit statuses", "equal")
    for study, runs, seconds, interruptions in endured:
        stages = collections.Counter(interruption.stage for interruption in interruptions)
        statuses = collections.Counter(interruption.status for interruption in interruptions)
        table.add_row(
            study,
            f"{runs:,}",
            f"{seconds:.1f}",
            *(str(stages[stage]) for stage in STAGES),
            ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items())),
            str(sum(not interruption.problems for interruption in interruptions)),
        )
    return table


def _bar(endured: Endured) -> Bar:
    failed = [f"after {i.moment:.2f} s: {'; '.join(i.problems)}" for i in endured.interruptions if i.problems]
    measured = f"{endured.equal} of {len(endured.interruptions)}"
    return Bar(f"{endured.study} ends as uninterrupted", "\n  ".join([measured, *failed]), not failed)
