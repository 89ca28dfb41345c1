"""The command line of the study of generalisation."""

from collections.abc import Sequence

from experiments.generalization.config import Config
from experiments.generalization.findings import show
from experiments.generalization.study import redraw, run
from experiments.study.command import Study

STUDY = Study(
    name="generalization",
    description=(
        "Train small networks on subsets of the digits; rank their generalisation gaps by Takeuchi's"
        " information criterion and its rivals, and replay successive halving with each."
    ),
    presets={"digits": Config()},
    run=run,
    redraw=redraw,
    show=show,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
