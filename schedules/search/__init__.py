"""The search for near-optimal shapes: strategies that ask, and the scores they are told."""

from schedules.search.challenge import challenge
from schedules.search.curves import model_of
from schedules.search.joint import CurveBudget, search_curves
from schedules.search.keys import named_key
from schedules.search.near_optimality import CheckBudget, check_winners, free_start
from schedules.search.one_axis import AxisSweep
from schedules.search.paired import paired_change
from schedules.search.procedure import Budget, Findings, Winner, confirm, search_shapes
from schedules.search.racing import Race, Raced, Rung
from schedules.search.recall import Once
from schedules.search.scale import Scale
from schedules.search.scoring import (
    Estimate,
    dkw_half_width,
    mean_estimate,
    median_change,
    median_difference,
    median_estimate,
)
from schedules.search.standings import Standing, standings, verdict
from schedules.search.strategies import STRATEGIES
from schedules.search.strategy import History, Strategy
from schedules.search.trial import Candidate, SearchSpace, Trial
from schedules.search.verdicts import Finding, Verdict

__all__ = [
    "STRATEGIES",
    "AxisSweep",
    "Budget",
    "Candidate",
    "CheckBudget",
    "CurveBudget",
    "Estimate",
    "Finding",
    "Findings",
    "History",
    "Once",
    "Race",
    "Raced",
    "Rung",
    "Scale",
    "SearchSpace",
    "Standing",
    "Strategy",
    "Trial",
    "Verdict",
    "Winner",
    "challenge",
    "check_winners",
    "confirm",
    "dkw_half_width",
    "free_start",
    "mean_estimate",
    "median_change",
    "median_difference",
    "median_estimate",
    "model_of",
    "named_key",
    "paired_change",
    "search_curves",
    "search_shapes",
    "standings",
    "verdict",
]
