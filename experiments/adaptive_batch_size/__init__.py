"""Does a batch that grows with the noise of its own geometry save steps, as arXiv:2602.03001 says?

Every optimizer trains with a constant small batch, a constant large one, and two that grow: with the
Euclidean noise scale and with that of its own geometry; all on equally many examples.
`python -m experiments.adaptive_batch_size` runs it, `… report runs/NAME` draws its report again.
"""

from experiments.adaptive_batch_size.command import main
from experiments.adaptive_batch_size.config import PRESETS, Config
from experiments.adaptive_batch_size.study import redraw, run

__all__ = ["PRESETS", "Config", "main", "redraw", "run"]
