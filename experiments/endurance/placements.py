"""Studies on two devices, on eight, and in two processes with four each: do they give the same bits?"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from experiments.endurance.apart import STUDIES, SmallStudy, Studies, ended_well, finish, start
from experiments.endurance.evidence import lost_rows, recorded
from experiments.endurance.interruptions import differences
from experiments.endurance.measuring import Bar, scratch_folder, show_bars
from experiments.study.options.checks import Checked
from experiments.study.options.errors import StudyError
from experiments.study.options.pairs import Folder
from experiments.study.running.processes import free_address

PROCESSES, EACH = 2, 4
ALONE = (2, PROCESSES * EACH)  # devices of a single process; one device has bits of its own


class Placed(NamedTuple):
    """A study in all places.

    Attributes:
      runs: how many it has.
      seconds: that it took, by place.
      lost: which of the two processes was killed.
      kept: how many runs were recorded by then.
      problems: what is not the same as on two devices.
    """

    study: str
    runs: int
    seconds: tuple[float, ...]
    lost: int
    kept: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Placements(Checked):
    """Run every study on two devices, on eight, and in two processes with four devices each; and once more in
    two, of which one is killed at a random moment, before both are started again. All journals and winners
    must be the same, bit for bit: on several devices a program is the same whatever their number."""

    studies: Studies = tuple(STUDIES)
    """What to place."""
    seed: int = 0
    """Root of the moments."""
    folder: Folder | None = None
    """Where all of them are kept; a temporary folder when not given."""

    def report(self, console: Console) -> bool:
        """Print what became of every study; returns whether all bars held."""
        with scratch_folder(self.folder) as scratch:
            placed = []
            for name in self.studies:
                placed.append(self.measure(name, scratch))
                console.print(f"{name}: {'; '.join(placed[-1].problems) or 'the same everywhere'}")
        console.print(_table(placed))
        return show_bars(map(_bar, placed), console)

    def measure(self, name: str, scratch: Path) -> Placed:
        """One study, in folders of its own. Raises StudyError where it fails in one process."""
        study, place = STUDIES[name], scratch / name
        place.mkdir()
        moments = random.Random(f"{name} {self.seed}")
        two, eight = place / "two devices", place / "eight devices"
        seconds = [
            finish(study, folder, place / "compiled", devices=devices)
            for folder, devices in zip((two, eight), ALONE, strict=True)
        ]
        problems = [f"eight devices: {problem}" for problem in differences(study, two, eight)]
        problems += _together(study, two, place / "two processes")
        lost, moment = moments.randrange(PROCESSES), moments.uniform(0.3, 1) * max(seconds)
        kept, of_resumed = _resumed(study, two, place / "one was lost", lost, moment)
        return Placed(name, len(recorded(two)), tuple(seconds), lost, kept, (*problems, *of_resumed))


def start_together(study: SmallStudy, folder: Path) -> list[BaseProcess]:
    """Start the study in two processes that share it."""
    address = free_address()
    return [
        start(
            study,
            folder,
            folder.with_name(f"compiled by {number}"),
            *("--coordinator", address, "--num-processes", str(PROCESSES), "--process-id", str(number)),
            devices=EACH,
        )
        for number in range(PROCESSES)
    ]


def _together(study: SmallStudy, whole: Path, folder: Path) -> Iterator[str]:
    """In what the study differs in two processes from the one in `whole`."""
    try:
        for process in start_together(study, folder):
            ended_well(process, folder)
    except StudyError as error:
        yield f"two processes: {error}"
        return
    for problem in differences(study, whole, folder):
        yield f"two processes: {problem}"


def _resumed(study: SmallStudy, whole: Path, folder: Path, lost: int, moment: float) -> tuple[int, list[str]]:
    """How many runs were recorded when a process was killed after `moment` seconds, and what is wrong when
    both have been started again."""
    processes = start_together(study, folder)
    processes[lost].join(moment)
    processes[lost].kill()
    for process in processes:
        process.join()  # the other one ends by itself
    kept = recorded(folder)
    problems = [
        f"one of two was lost: {problem.removeprefix('two processes: ')}"
        for problem in _together(study, whole, folder)
    ]
    gone = lost_rows(kept, recorded(folder))
    return len(kept), [*problems, *([f"{gone} recorded rows were lost or run again"] if gone else [])]


def _table(placed: list[Placed]) -> Table:
    table = Table("study", "runs", "s on 2 devices", "s on 8", "process killed", "runs kept", "the same")
    for placement in placed:
        table.add_row(
            placement.study,
            f"{placement.runs:,}",
            *(f"{seconds:.1f}" for seconds in placement.seconds),
            str(placement.lost),
            f"{placement.kept:,}",
            "no" if placement.problems else "yes",
        )
    return table


def _bar(placed: Placed) -> Bar:
    told = "; ".join(placed.problems) or "the same"
    return Bar(f"{placed.study} is the same everywhere", told, not placed.problems)
