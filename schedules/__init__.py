"""Learning-rate schedule shapes, and the search for the best of them."""

from schedules.branches import Cooldown, PowerLaw, Trunk, branches
from schedules.families import FAMILIES
from schedules.family import Family
from schedules.interval import Interval
from schedules.search.curve_model import CurveModel
from schedules.winners import load_winner

__all__ = [
    "FAMILIES",
    "Cooldown",
    "CurveModel",
    "Family",
    "Interval",
    "PowerLaw",
    "Trunk",
    "branches",
    "load_winner",
]
