"""Which descent geometry suits which layer, and when?

Measures, layer by layer along training, what the criteria of several papers look at, and lets the spec–sign
index choose between sign and spectral descent, against either alone. `python -m experiments.layer_geometry`
runs it, `… report runs/NAME` draws its report again.
"""

from experiments.layer_geometry.command import main
from experiments.layer_geometry.config import PRESETS, Config
from experiments.layer_geometry.study import redraw, run

__all__ = ["PRESETS", "Config", "main", "redraw", "run"]
