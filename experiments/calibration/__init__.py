"""Whether the verdict's bound holds the truth, on simulated landscapes whose best curve is known.

`steepest calibration` searches them, as `shape_search` does with few runs, and prints how often the best of
all curves saves no more than δ of the score of the better of winner and challenger.
"""

from experiments.calibration.command import main

__all__ = ["main"]
