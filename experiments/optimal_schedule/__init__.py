"""How far is every family's best shape from the best schedule there is, where the loss is known exactly?

For linear regression, the best open-loop schedule is found by gradients through the exact loss of a few
kernels and certified on fresh ones, beside the best member of every family, its projection on the best found,
and what the mean field would have chosen. `python -m experiments.optimal_schedule` runs it,
`… report runs/optimal_schedule` draws its report again.
"""

from experiments.optimal_schedule.command import main
from experiments.optimal_schedule.config import Config
from experiments.optimal_schedule.study import redraw, run

__all__ = ["Config", "main", "redraw", "run"]
