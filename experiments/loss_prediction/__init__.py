"""Does a law fitted on the loss curves of a few runs rank unseen schedules, and propose a good one?

The multi-power law is fitted on six runs; then many shapes that it has not seen are trained, at equal sums of
learning rates and at any. `python -m experiments.loss_prediction` runs it, `… report runs/NAME` draws its
report again.
"""

from experiments.loss_prediction.command import main
from experiments.loss_prediction.config import Config
from experiments.loss_prediction.study import redraw, run

__all__ = ["Config", "main", "redraw", "run"]
