"""The command line of the study of loss prediction."""

from collections.abc import Sequence

from experiments.loss_prediction.config import PRESETS
from experiments.loss_prediction.findings import show
from experiments.loss_prediction.study import redraw, run
from experiments.study.command import Study

STUDY = Study(
    name="loss_prediction",
    description=(
        "Fit the multi-power law on the loss curves of six runs, and see how it ranks the final losses of"
        " shapes it has not seen, and how good the schedule is that it proposes."
    ),
    presets=PRESETS,
    run=run,
    redraw=redraw,
    show=show,
    saved=True,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
