"""Beyond which batch size do samples no longer buy steps, and what predicts it?

Steps to a target are measured for every optimizer at every batch size, each with its own best learning rate;
laws are fitted to them, and the critical batch size is held against the noise scales of the same runs.
`python -m experiments.critical_batch_size` runs it, `… report runs/NAME` draws its report again.
"""

from experiments.critical_batch_size.command import main
from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.study import redraw, run

__all__ = ["Config", "main", "redraw", "run"]
