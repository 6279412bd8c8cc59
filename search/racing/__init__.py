"""Races between candidates on documents: draws, estimates, tests that may be looked at any time, goals, beliefs. Knows arrays of outcomes alone."""

from .belief import Belief, Posterior
from .contention import evidence
from .domination import Domination
from .field import (
    Field,
    Racing,
    Runner,
    advance,
    common_draw,
    draw,
    estimates_of,
    face,
    leg,
    race_of,
    rivals,
    suite_estimates,
    within_suite,
)
from .goal import Goal, distinct_front, front, knee
from .strata import Draw, Estimate, Floats, Ints, Order, best_estimate, estimate, single_stratum

__all__ = [
    "Belief",
    "Domination",
    "Draw",
    "Estimate",
    "Field",
    "Floats",
    "Goal",
    "Ints",
    "Order",
    "Posterior",
    "Racing",
    "Runner",
    "advance",
    "best_estimate",
    "common_draw",
    "distinct_front",
    "draw",
    "estimate",
    "estimates_of",
    "evidence",
    "face",
    "front",
    "knee",
    "leg",
    "race_of",
    "rivals",
    "single_stratum",
    "suite_estimates",
    "within_suite",
]
