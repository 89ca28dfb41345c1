"""How many runs does each strategy need to find a near-optimal shape?

Every strategy searches many times from other seeds, on a landscape without noise (`landscape`) or with real
training runs (`digits`), and each search is judged by when it first knew a shape within a tolerance of the
best one known. `python -m experiments.search_efficiency digits` runs it, `… report runs/NAME` draws its
report again.
"""

from experiments.search_efficiency.command import main
from experiments.search_efficiency.config import PRESETS, Landscape, Training
from experiments.search_efficiency.study import redraw, run

__all__ = ["PRESETS", "Landscape", "Training", "main", "redraw", "run"]
