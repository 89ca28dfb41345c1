"""The search strategies by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from schedules.search.drawing import random_search, sobol_search
from schedules.search.strategy import Strategy
from schedules.search.trust_region import trust_region_search

STRATEGIES: Mapping[str, Callable[[int, int], Strategy]] = MappingProxyType(
    {"trust_region": trust_region_search, "random": random_search, "sobol": sobol_search}
)
