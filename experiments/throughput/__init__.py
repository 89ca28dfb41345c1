"""How fast runs, recursions, schedules and descent directions are here, as ratios measured in one run.

Absolute speeds depend on the machine and its neighbours; so every comparison alternates the two sides,
repeat by repeat, and reports the median of the paired ratios. `steepest throughput` prints it.
"""

from experiments.throughput.command import main

__all__ = ["main"]
