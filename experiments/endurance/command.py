"""The command line of the endurance measurements."""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.endurance.apart import check_devices
from experiments.endurance.interruptions import Interruptions
from experiments.endurance.jobs import Jobs
from experiments.endurance.overhead import Overhead
from experiments.endurance.placements import Placements
from experiments.endurance.scaling import Scaling
from experiments.endurance.soak import Soak
from experiments.study.command import told
from experiments.study.options.pairs import parsed

DESCRIPTION = "Measure whether studies last. The exit status is 0 where every bar held, 1 where one did not."


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""

    def command(console: Console) -> int:
        subject = parsed(
            Interruptions | Jobs | Placements | Soak | Overhead | Scaling,
            sys.argv[1:] if arguments is None else arguments,
            prog="steepest endurance",
            description=DESCRIPTION,
        )
        check_devices()
        return 0 if subject.report(console) else 1

    return told(command, width=130)
