"""Does Takeuchi's information criterion predict the generalisation gap, and does pruning by it pay?

Small networks are trained on subsets of the digits. The criterion's predictions are ranked against the gaps
between test and training loss, beside simple rivals, and successive halving is replayed with each criterion
on the same runs. `python -m experiments.generalization` runs it, `… report runs/generalization` draws its
report again.
"""

from experiments.generalization.command import main
from experiments.generalization.config import Config
from experiments.generalization.study import redraw, run

__all__ = ["Config", "main", "redraw", "run"]
