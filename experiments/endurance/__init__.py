"""Whether studies and jobs folders last: through kills, through many runs, at what cost, on how many devices.

`steepest endurance SUBJECT` measures one of them, prints a table and says whether its bar held.
"""

from experiments.endurance.command import main

__all__ = ["main"]
