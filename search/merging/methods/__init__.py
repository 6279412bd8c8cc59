"""Merge methods, one per module, and the arithmetic that they share."""

from __future__ import annotations

from collections.abc import Mapping

from .breadcrumbs import Breadcrumbs
from .dare import DareLinear, DareTies
from .della import Della, DellaLinear
from .exme import ExMe
from .expo import ExPO
from .linear import Linear
from .method import KnownPoint, Method, Parameter
from .model_stock import ModelStock
from .slerp import Slerp
from .task_arithmetic import TaskArithmetic
from .ties import Ties

METHODS: Mapping[str, type[Method]] = {
    method.name: method
    for method in (
        ExMe,
        ExPO,
        Linear,
        TaskArithmetic,
        Slerp,
        ModelStock,
        Ties,
        DareLinear,
        DareTies,
        DellaLinear,
        Della,
        Breadcrumbs,
    )
}

# Methods whose candidates are the plain sum of the deltas: their names decide no weight.
PLAIN = frozenset({"exme", "expo", "linear", "task_arithmetic"})

__all__ = [
    "METHODS",
    "PLAIN",
    "ExMe",
    "ExPO",
    "KnownPoint",
    "Linear",
    "Method",
    "Parameter",
    "TaskArithmetic",
]
