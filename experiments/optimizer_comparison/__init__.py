"""Which optimizer trains a workload best at equal tuning budget, in steps and in seconds?

Every optimizer gets the same number of runs over learning rates and decays, and is re-scored at its best
with fresh seeds. `python -m experiments.optimizer_comparison` runs it, `… report runs/NAME` draws its report
again.
"""

from experiments.optimizer_comparison.command import main
from experiments.optimizer_comparison.comparison import redraw, run
from experiments.optimizer_comparison.config import PRESETS, Config

__all__ = ["PRESETS", "Config", "main", "redraw", "run"]
