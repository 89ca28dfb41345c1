"""Does the path of training look as arXiv:2306.11922 says, and does the schedule it prescribes pay?

Every run is trained to its end w* and then replayed, measuring at each probed step how the gradient lies to
w - w*. `python -m experiments.path_geometry` runs it, `… report runs/path_geometry` draws its report again.
"""

from experiments.path_geometry.command import main
from experiments.path_geometry.config import Config
from experiments.path_geometry.investigation import redraw, run

__all__ = ["Config", "main", "redraw", "run"]
