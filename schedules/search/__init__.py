"""The search for near-optimal shapes: strategies that ask, and the scores they are told."""

from schedules.search.keys import named_key
from schedules.search.procedure import Budget, Findings, Screened, Winner, search_shapes
from schedules.search.rates import RateGrid
from schedules.search.scoring import (
    Estimate,
    dkw_half_width,
    mean_estimate,
    median_change,
    median_difference,
    median_estimate,
)
from schedules.search.standings import Standing, standings, verdict
from schedules.search.strategies import STRATEGIES, History, Strategy, random_search, sobol_search
from schedules.search.trial import Shape, Trial

__all__ = [
    "STRATEGIES",
    "Budget",
    "Estimate",
    "Findings",
    "History",
    "RateGrid",
    "Screened",
    "Shape",
    "Standing",
    "Strategy",
    "Trial",
    "Winner",
    "dkw_half_width",
    "mean_estimate",
    "median_change",
    "median_difference",
    "median_estimate",
    "named_key",
    "random_search",
    "search_shapes",
    "sobol_search",
    "standings",
    "verdict",
]
