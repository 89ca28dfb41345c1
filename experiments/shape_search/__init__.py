"""Which learning-rate shape is near-optimal for a workload?

Searches the shapes of every family, each at its own best base learning rate, and re-scores the winners with
fresh seeds. `python -m experiments.shape_search` runs it, `… report runs/NAME` draws its report again.
"""

from experiments.shape_search.command import main
from experiments.shape_search.config import Config
from experiments.shape_search.presets import PRESETS, QUICK
from experiments.shape_search.search import redraw, run

__all__ = ["PRESETS", "QUICK", "Config", "main", "redraw", "run"]
