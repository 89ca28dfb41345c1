"""Jobs folders whose processes are killed and whose disk fails: is anything lost, and does all go on?"""

import collections
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from experiments.endurance.apart import one_process
from experiments.endurance.failing_disk import KINDS
from experiments.endurance.faults import Suffered, suffer_all
from experiments.endurance.kills import PROCESSES, Killed, kill_all
from experiments.endurance.measuring import Bar, scratch_folder, show_bars
from experiments.study.options.checks import Checked, Count
from experiments.study.options.pairs import Folder


@dataclass(frozen=True)
class Jobs(Checked):
    """Kill processes that search small jobs folders at random moments and start them again, and let the disk
    fail in the commands of a search and type them again. Compare with folders where nothing happened: all
    events, and the files of all trials."""

    kills: Count = 200
    """How many processes to kill, at least."""
    faults: Count = 1_000
    """How many operations on the disk to let fail, one at a time; a quarter of them kills the process."""
    workers: Count = 8
    """How many search a folder at the same time while their processes are killed."""
    seed: int = 0
    """Root of the moments of kills, and of which operations fail."""
    folder: Folder | None = None
    """Where all folders are kept; a temporary one when not given."""

    def report(self, console: Console) -> bool:
        """Print what became of the folders; returns whether all bars held."""
        with scratch_folder(self.folder) as scratch:
            compiled = scratch / "compiled"
            with one_process(compiled) as pool:
                suffering = pool.submit(suffer_all, self.faults, self.seed, scratch / "faults", compiled)
                suffered = suffering.result()
            console.print(_fault_table(suffered))
            killed = kill_all(self.kills, self.workers, self.seed, scratch / "kills", compiled)
            console.print(_kill_table(killed))
        return show_bars([fault_bar(suffered), kill_bar(killed)], console)


def fault_bar(suffered: Sequence[Suffered]) -> Bar:
    """That no fault has a problem."""
    failed = [
        f"{found.fault} of {' '.join(found.step.words)}: {'; '.join(found.problems)}"
        for found in suffered
        if found.problems
    ]
    measured = f"{len(suffered) - len(failed)} of {len(suffered)}"
    return Bar(
        "a fault is a message, records all or nothing, and the same command again ends as without it",
        "\n  ".join([measured, *failed]),
        not failed,
    )


def kill_bar(killed: Killed) -> Bar:
    """That no search had a problem."""
    count = sum(killed.killed.values())
    return Bar(
        "searches whose processes are killed lose nothing, give no trial out twice, and end as without kills",
        "\n  ".join([f"{killed.searches} searches with {count} kills", *killed.problems]),
        not killed.problems,
    )


def _fault_table(suffered: Sequence[Suffered]) -> Table:
    table = Table("fault", "number", "as if nothing had happened", "in commands")
    for kind in KINDS:
        chosen = [found for found in suffered if found.fault.kind == kind]
        commands = collections.Counter(found.step.words[0] for found in chosen)
        told = ", ".join(f"{count} × {word}" for word, count in sorted(commands.items()))
        table.add_row(kind, str(len(chosen)), str(sum(not found.problems for found in chosen)), told)
    return table


def _kill_table(killed: Killed) -> Table:
    table = Table("process", "started", "killed")
    for kind in PROCESSES:
        table.add_row(kind, str(killed.started.get(kind, 0)), str(killed.killed.get(kind, 0)))
    return table
