"""What a study pays to survive: the time in its journal, as a share of the time of its runs."""

import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.endurance.apart import forkserver, keep_all_programs
from experiments.endurance.bars import Bar, range_text, show_bars
from experiments.endurance.scratch import scratch_folder
from experiments.endurance.watching import watched
from experiments.shape_search import Config, run
from experiments.study import session
from experiments.study.choices import raise_problems
from experiments.study.devices import one_device_per_core
from experiments.study.journal import Journal

MAX_SHARE = 0.02

# by what is paid for, all calls in which that is done; none of them calls another
PAID = {
    "journal": ((Journal, "__init__"), (Journal, "record"), (Journal, "record_event"), (Journal, "__exit__"))
}


class Paid(NamedTuple):
    """The seconds of a study, of its runs alone, and of what is paid for, by its name."""

    study: float
    runs: float
    paid: dict[str, float]


class Pair(NamedTuple):
    """A study, and the same with its journal in memory."""

    written: Paid
    unwritten: Paid


@dataclass(frozen=True)
class Overhead:
    """Time what a shape search of the digits, at its defaults, does for its journal, and compare with the
    same search whose journal is in memory."""

    repeats: int = 3
    """Alternating repeats of the two; medians and ranges are told."""
    folder: Path | None = None
    """Where the studies are kept; a temporary folder when not given."""

    def __post_init__(self):
        raise_problems([f"repeats: must be at least 1, got {self.repeats}."] if self.repeats < 1 else [])

    def report(self, console: Console) -> bool:
        """Print the shares; returns whether all bars held."""
        with scratch_folder(self.folder) as scratch, ProcessPoolExecutor(1, mp_context=forkserver()) as pool:
            pairs = pool.submit(measure, Config(), self.repeats, scratch).result()
        console.print(_table(pairs))
        ratios = [pair.written.study / pair.unwritten.study for pair in pairs]
        console.print(f"The study over the same with its journal in memory: {range_text(ratios, '.3f')}.")
        return show_bars((_bar(name, pairs) for name in PAID), console)


def measure(config: Config, repeats: int, scratch: Path) -> list[Pair]:
    """Make the studies in `scratch`, in this process, after a first one for which programs are compiled."""
    one_device_per_core()
    keep_all_programs(scratch / "compiled")
    study(config, scratch / "first")
    pairs = []
    for repeat in range(repeats):
        written = study(config, scratch / f"{repeat}")
        with mock.patch.object(session, "Journal", _in_memory):
            pairs.append(Pair(written, study(config, scratch / f"{repeat} in memory")))
    return pairs


def study(config: Config, folder: Path) -> Paid:
    """Make a study, and time what it pays."""
    paid: dict[str, list[float]] = {name: [] for name in PAID}
    with ExitStack() as stack:
        for name, calls in PAID.items():
            for owner, method in calls:
                stack.enter_context(watched(owner, method, paid[name].append))
        begun = time.perf_counter()
        runs = run(config, folder).seconds
        return Paid(time.perf_counter() - begun, runs, {name: sum(of) for name, of in paid.items()})


def shares(name: str, pairs: list[Pair]) -> list[float]:
    """The seconds paid for it over those of the runs, by repeat."""
    return [written.paid[name] / written.runs for written, _ in pairs]


def _in_memory(path: Path) -> Journal:
    """The journal at `path`, from here on without the file."""
    with Journal(path) as journal:
        return Journal.in_memory(journal.content())


def _bar(name: str, pairs: list[Pair]) -> Bar:
    found = shares(name, pairs)
    return Bar(
        f"the {name} takes less than {MAX_SHARE:.0%} of the seconds of the runs",
        range_text([100 * share for share in found], ".2f", " %"),
        float(np.median(found)) < MAX_SHARE,
    )


def _table(pairs: list[Pair]) -> Table:
    table = Table("paid for", "s", "s of the runs", "s of the study")
    for name in PAID:
        written = [pair.written for pair in pairs]
        table.add_row(
            name,
            range_text([of.paid[name] for of in written], ".3f"),
            range_text([of.runs for of in written], ".1f"),
            range_text([of.study for of in written], ".1f"),
        )
    return table
