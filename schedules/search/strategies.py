"""The search strategies by name."""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from schedules.search.coordinate import coordinate_search
from schedules.search.drawing import grid_search, random_search, sobol_search
from schedules.search.strategy import Strategy


def _with_libraries(module: str, function: str) -> Callable[[int, int], Strategy]:
    """A strategy whose libraries are in the extra `search`, imported once it is used."""

    def strategy(dimensions: int, batch: int) -> Strategy:
        try:
            found = importlib.import_module(f"schedules.search.{module}")
        except ModuleNotFoundError as error:
            raise ImportError(f"{function} needs {error.name}: pip install 'steepest[search]'") from error
        return getattr(found, function)(dimensions, batch)

    return strategy


STRATEGIES: Mapping[str, Callable[[int, int], Strategy]] = MappingProxyType(
    {
        "trust_region": _with_libraries("trust_region", "trust_region_search"),
        "cmaes": _with_libraries("evolution", "cmaes_search"),
        "coordinate": coordinate_search,
        "random": random_search,
        "sobol": sobol_search,
        "grid": grid_search,
    }
)
