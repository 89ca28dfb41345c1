"""The command line of the study of adaptive batch sizes."""

from collections.abc import Sequence

from experiments.adaptive_batch_size.config import PRESETS
from experiments.adaptive_batch_size.findings import show
from experiments.adaptive_batch_size.study import redraw, run
from experiments.study.command import Study

STUDY = Study(
    name="adaptive_batch_size",
    description="Let the batch grow with the noise of the gradient, and compare it with constant ones.",
    presets=PRESETS,
    run=run,
    redraw=redraw,
    show=show,
    saved=True,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
