"""The search for near-optimal shapes: strategies that ask, and the scores they are told."""

from schedules.search.keys import named_key
from schedules.search.procedure import Budget, Findings, Winner, confirm, search_shapes
from schedules.search.racing import Race, Raced, Rung
from schedules.search.scoring import (
    Estimate,
    dkw_half_width,
    median_change,
    median_difference,
    median_estimate,
)
from schedules.search.standings import Standing, standings, verdict
from schedules.search.strategies import STRATEGIES
from schedules.search.strategy import History, Strategy
from schedules.search.trial import Candidate, SearchSpace, Trial

__all__ = [
    "STRATEGIES",
    "Budget",
    "Candidate",
    "Estimate",
    "Findings",
    "History",
    "Race",
    "Raced",
    "Rung",
    "SearchSpace",
    "Standing",
    "Strategy",
    "Trial",
    "Winner",
    "confirm",
    "dkw_half_width",
    "median_change",
    "median_difference",
    "median_estimate",
    "named_key",
    "search_shapes",
    "standings",
    "verdict",
]
