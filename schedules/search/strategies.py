"""The search strategies by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from schedules.search.coordinate import coordinate_search
from schedules.search.drawing import grid_search, random_search, sobol_search
from schedules.search.evolution import cmaes_search
from schedules.search.strategy import Strategy
from schedules.search.trust_region import trust_region_search

STRATEGIES: Mapping[str, Callable[[int, int], Strategy]] = MappingProxyType(
    {
        "trust_region": trust_region_search,
        "cmaes": cmaes_search,
        "coordinate": coordinate_search,
        "random": random_search,
        "sobol": sobol_search,
        "grid": grid_search,
    }
)
