"""Does the best shape depend on the setting, and what does another setting's shape cost?

Varies one option of the shape search: one whole search a setting, then every setting's best shape trained in
every other one with its learning rate tuned again. `steepest shape_search --vary weight_decay` runs it.
"""

from experiments.shape_search.dependence.config import DEFAULTS, QUICK, Dependence, dependence_problems
from experiments.shape_search.dependence.factors import FACTORS
from experiments.shape_search.dependence.results import show
from experiments.shape_search.dependence.study import redraw, run

__all__ = ["DEFAULTS", "FACTORS", "QUICK", "Dependence", "dependence_problems", "redraw", "run", "show"]
