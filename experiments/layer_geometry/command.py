"""The command line of the study of layer geometry."""

from collections.abc import Sequence

from experiments.layer_geometry.config import PRESETS
from experiments.layer_geometry.results import show
from experiments.layer_geometry.study import redraw, run
from experiments.study.command import Study

STUDY = Study(
    name="layer_geometry",
    description="Measure which descent geometry suits which layer, and let the measurement choose it.",
    presets=PRESETS,
    run=run,
    redraw=redraw,
    show=show,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
