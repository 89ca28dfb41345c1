"""What a study pays to survive: the time for its journal and checkpoints, as a share of that of its runs."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from rich.console import Console
from rich.table import Table

from experiments.endurance.apart import one_process
from experiments.endurance.measuring import Bar, range_text, scratch_folder, share_bar, show_bars, watched
from experiments.shape_search import STUDY, Config
from experiments.study.options.checks import Checked, Count
from experiments.study.options.pairs import Folder
from experiments.study.running import session
from experiments.study.running.execution import SAVE_EVERY_SECONDS
from experiments.study.storage.checkpoints import Checkpoints
from experiments.study.storage.journal import Journal
from workloads import LongSweep

MAX_SHARE = 0.02

# all calls in which it is done; none of them calls another
JOURNAL = ((Journal, "__init__"), (Journal, "record"), (Journal, "record_event"), (Journal, "__exit__"))
CHECKPOINTS = ((LongSweep, "saved"), (Checkpoints, "save"))
# a group of runs as wide as one would choose, saved as often as possible
CHECKPOINTED = Config(families=("constant",), candidates=16, rung_replicates=(8,), checked=0, vectorize=64)
OFTEN = {"checkpoint_steps": 25, "checkpoint_seconds": 0}


class Paid(NamedTuple):
    """The seconds of a study, of its runs alone, and in its journal."""

    study: float
    runs: float
    journal: float


class Pair(NamedTuple):
    """A study, and the same with its journal in memory."""

    written: Paid
    unwritten: Paid


@dataclass(frozen=True)
class Overhead(Checked):
    """Time what a shape search of the digits, at its defaults, does for its journal, and compare with the
    same search whose journal is in memory; and what one does that saves its runs on the way."""

    repeats: Count = 3
    """Alternating repeats of the first two; medians and ranges are told."""
    folder: Folder | None = None
    """Where the studies are kept; a temporary folder when not given."""

    def report(self, console: Console) -> bool:
        """Print what is paid; returns whether all bars held."""
        with scratch_folder(self.folder) as scratch, one_process(scratch / "compiled") as pool:
            pairs = pool.submit(journal_pairs, Config(), self.repeats, scratch).result()
            saves = pool.submit(checkpoint_seconds, CHECKPOINTED, OFTEN, scratch).result()
        console.print(_table(pairs))
        ratios = [pair.written.study / pair.unwritten.study for pair in pairs]
        console.print(f"The study over the same with its journal in memory: {range_text(ratios, '.3f')}.")
        console.print(f"A checkpoint takes {range_text(saves, '.3f', ' s')}, {len(saves)} saves.")
        return show_bars((_journal_bar(pairs), _checkpoint_bar(saves)), console)


def journal_pairs(config: Config, repeats: int, scratch: Path) -> list[Pair]:
    """Make the studies in `scratch`, in this process, after a first one for which programs are compiled."""
    study(config, scratch / "first")
    pairs = []
    for repeat in range(repeats):
        written = study(config, scratch / f"{repeat}")
        with mock.patch.object(session, "Journal", _in_memory):
            pairs.append(Pair(written, study(config, scratch / f"{repeat} in memory")))
    return pairs


def study(config: Config, folder: Path) -> Paid:
    """Make a study, and time what it pays for its journal."""
    with timed(JOURNAL) as paid:
        begun = time.perf_counter()
        runs = STUDY.run(config, folder).tally.seconds
        seconds = time.perf_counter() - begun
    return Paid(seconds, runs, sum(map(sum, paid)))


def checkpoint_seconds(config: Config, saving: Mapping[str, float], scratch: Path) -> list[float]:
    """Make a study that saves its runs, in this process: the seconds of each save."""
    with timed(CHECKPOINTS) as paid:
        STUDY.run(config, scratch / "checkpointed", **saving)
    return [sum(parts) for parts in zip(*paid, strict=True)]


@contextmanager
def timed(calls: Sequence[tuple[type, str]]) -> Iterator[list[list[float]]]:
    """By method, the seconds of all its calls within the `with` statement."""
    paid: list[list[float]] = [[] for _ in calls]
    with ExitStack() as stack:
        for (owner, method), seconds in zip(calls, paid, strict=True):
            stack.enter_context(watched(owner, method, seconds.append))
        yield paid


def _in_memory(path: Path) -> Journal:
    """The journal at `path`, from here on without the file."""
    with Journal(path) as journal:
        return Journal.in_memory(journal.content())


def _journal_bar(pairs: list[Pair]) -> Bar:
    asked = f"the journal takes less than {MAX_SHARE:.0%} of the seconds of the runs"
    return share_bar(asked, [written.journal / written.runs for written, _ in pairs], MAX_SHARE)


def _checkpoint_bar(saves: list[float]) -> Bar:
    asked = f"a checkpoint takes less than {MAX_SHARE:.0%} of the {SAVE_EVERY_SECONDS} s from one to the next"
    return share_bar(asked, [seconds / SAVE_EVERY_SECONDS for seconds in saves], MAX_SHARE)


def _table(pairs: list[Pair]) -> Table:
    table = Table("shape search of the digits", *(f"s of the {part}" for part in Paid._fields))
    for name, paid in zip(("journal written", "journal in memory"), zip(*pairs, strict=True), strict=True):
        table.add_row(name, *(range_text(seconds, ".2f") for seconds in zip(*paid, strict=True)))
    return table
