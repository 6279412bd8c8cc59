"""A point of a study's space as a person names it: ``{"sums": 0.7, "density": 0.5}``."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from exme.search.directions import vectors
from exme.search.merging.methods import METHODS, KnownPoint
from exme.tasks import UserError, did_you_mean

from .space import METHOD, Space

if TYPE_CHECKING:
    from .study_file import StudyFile

BY_HAND = "by hand"


def check_names(given: Collection[str], sources: Collection[str], study: StudyFile) -> None:
    """Refuse what is neither a source nor a parameter of the study's methods, with a ValueError.

    Args:
        sources: checkpoints and, where they may be named, directions.
        study: whose methods have the parameters.
    """
    own = {parameter.name for name in study.methods for parameter in METHODS[name].own}
    known = [*sources, *sorted(own)]
    for name in given:
        if name not in known:
            raise ValueError(
                f"'{name}' is neither a checkpoint nor a parameter of {', '.join(study.methods)} "
                f"(have: {', '.join(known)}){did_you_mean(name, known)}"
            )


def check_made(study: StudyFile, space: Space, given: Mapping[str, float]) -> None:
    """Refuse coefficients that the study's method does not make, with a ValueError.

    Args:
        given: coefficients of all sources.
    """
    tried = space.first.to_coefficients(space.first.to_parameters(given))
    if any(abs(tried[name] - given[name]) > 1e-6 for name in given):
        raise ValueError(
            f"method '{space.first.name}' makes weighted means: coefficients are 0 or more and add up to 1, "
            f"found {_told(given)}{_as_mean(given)}; or use `method: exme`"
        )


def named_point(study: StudyFile, given: Mapping[str, float | str]) -> KnownPoint:
    """The point that a person names; checkpoints that are left out have no part in it.

    Args:
        study: whose space it is a point of.
        given: coefficients by checkpoint or direction, the method's own parameters by name, which are neutral
            where they are left out, and ``method`` where the study has several.

    Raises:
        UserError: an unknown name, a value that is no number, or what the method cannot make.
    """
    sources = [*study.checkpoints, *vectors(study.directions)]
    try:
        method = _method(study, given.get(METHOD))
        numbers = {name: _number(name, value) for name, value in given.items() if name != METHOD}
        check_names(numbers, sources, study)
        coefficients = {name: numbers.pop(name, 0.0) for name in sources}
        space = Space(study.methods, sources)
        check_made(study, space, coefficients)
        for name, value in numbers.items():
            own = space.own[name]
            if not own.low <= value <= own.high:
                raise ValueError(
                    f"'{name}' is {value:g}, expected {own.low:g} to {own.high:g} ({own.meaning})"
                )
    except ValueError as error:
        raise UserError(f"{BY_HAND}: {error}") from None
    return KnownPoint(BY_HAND, coefficients, numbers, method)


def _method(study: StudyFile, given: float | str | None) -> str:
    if given is None:
        return study.methods[0]
    if given not in study.methods:
        raise ValueError(
            f"method '{given}' is not the study's (have: {', '.join(study.methods)})"
            f"{did_you_mean(str(given), study.methods)}"
        )
    return str(given)


def _number(name: str, value: float | str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(f"'{name}' is {value!r}, expected a number, e.g. {name}=0.7")
    return number


def _told(coefficients: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {c:.4g}" for name, c in coefficients.items())


def _as_mean(weights: Mapping[str, float]) -> str:
    """The mean that weights give once they are divided by their sum, as a hint."""
    total = sum(weights.values())
    if min(weights.values()) < 0 or not total:
        return ""
    return f"; as weights they give {_told({name: w / total for name, w in weights.items()})}"
