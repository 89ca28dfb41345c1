"""The command line of the optimizer comparison."""

from collections.abc import Sequence

from experiments.optimizer_comparison.comparison import redraw, run
from experiments.optimizer_comparison.config import PRESETS
from experiments.optimizer_comparison.results import show
from experiments.study.command import Study

STUDY = Study(
    name="optimizer_comparison",
    description="Compare optimizers on a workload, each tuned with the same number of runs.",
    presets=PRESETS,
    run=run,
    redraw=redraw,
    show=show,
    saved=True,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
