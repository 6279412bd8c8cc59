"""Whether the keys of a study file can be used, and fit together. Each check raises a ValueError that names the key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exme.search.directions import DIRECTIONS, vectors
from exme.search.merging.methods import PLAIN
from exme.tasks import UserError, did_you_mean, load_suite

from .named_point import check_made, check_names
from .space import Space

if TYPE_CHECKING:
    from .study_file import StudyFile

MEASURES = ("metric", "target_nll")
_OWN = re.compile(r".*[\w/]:[^\W\d]\w*", re.DOTALL)


def measure_of_ones_own(measure: str) -> bool:
    """Whether a measure is a function, ``module:function``."""
    return _OWN.fullmatch(measure) is not None


def check_measure(measure: str) -> None:
    """Refuse what is neither, with a ValueError."""
    if measure not in MEASURES and not measure_of_ones_own(measure):
        raise ValueError(
            f"measure: '{measure}' is none (have: {', '.join(MEASURES)}, or module:function of your own)"
            f"{did_you_mean(measure, MEASURES)}"
        )


def beside(path: Path, measure: str) -> str:
    """A function's module as a file, where it stands beside a study file."""
    module, separator, function = measure.rpartition(":")
    if not separator or not re.fullmatch(r"\w+(\.\w+)*", module):
        return measure
    file = path.parent / f"{module.replace('.', '/')}.py"
    return f"{file.resolve()}:{function}" if file.is_file() else measure


def check_suites(names: Sequence[str], key: str) -> None:
    """Every suite that `key` names is there, and named once."""
    found: set[str] = set()
    for name in names:
        try:
            suite = load_suite(name).suite
        except UserError as error:
            raise ValueError(str(error)) from None
        if suite in found:
            raise ValueError(f"{key}: '{suite}' is named twice")
        found.add(suite)


def check_goal(study: StudyFile) -> None:
    """`weights` and `keep` are of the study's suites."""
    known = [load_suite(name).suite for name in study.suites]
    for key, section in (("weights", study.weights), ("keep", study.keep)):
        for name in section:
            if name not in known:
                raise ValueError(
                    f"{key}: suite '{name}' is not in suites (have: {', '.join(known)})"
                    f"{did_you_mean(name, known)}"
                )
    if any(w < 0 for w in study.weights.values()):
        raise ValueError(f"weights: expected 0 or more, found {dict(study.weights)}")
    if not any(study.weights.get(name, 1.0) > 0 for name in known):
        raise ValueError("weights: expected one above 0 at least")


def check_sampler(study: StudyFile) -> None:
    """`sampler` can search for what `goal` asks."""
    if study.sampler.name == "cmaes" and study.goal == "pareto":
        raise ValueError("sampler: cmaes searches for one value, not for a front; use gp or tpe")


def check_shift(study: StudyFile) -> None:
    """`shift` can be measured and bounded."""
    shift = study.shift
    if shift is None:
        return
    own = [method for method in study.methods if method not in PLAIN]
    if own:
        raise ValueError(
            f"shift: is measured of plain sums, and method '{own[0]}' masks or turns the checkpoints' deltas; "
            f"leave `shift` out, or use one of {', '.join(sorted(PLAIN))}"
        )
    if shift.parent is not None and shift.parent not in study.checkpoints:
        raise ValueError(
            f"shift.parent: '{shift.parent}' is not in checkpoints (have: {', '.join(study.checkpoints)})"
            f"{did_you_mean(shift.parent, study.checkpoints)}"
        )
    if shift.penalty is not None and study.goal == "pareto":
        raise ValueError(
            "shift.penalty: a Pareto front has no one value to take it off; use shift.bound"
        )
    low, high = study.space.coefficients
    if shift.bound is not None and (low > 0 or high < 1):
        raise ValueError(
            f"shift.bound: its parents have coefficients 0 and 1, which space.coefficients {low, high} do not "
            f"hold; widen them, or leave the bound out"
        )


def check_methods(study: StudyFile) -> None:
    """The methods take as many checkpoints as there are."""
    if study.method == "expo" and len(study.checkpoints) != 1:
        raise ValueError(
            f"method 'expo' extrapolates exactly one checkpoint, found "
            f"{len(study.checkpoints)}; use `method: exme` for several"
        )
    if study.method == "linear" and len(study.checkpoints) == 1:
        raise ValueError("method 'linear' averages checkpoints, found one; use `method: expo`")
    try:
        Space(study.methods, list(study.checkpoints))
    except UserError as error:
        raise ValueError(str(error)) from None


def check_directions(study: StudyFile) -> None:
    """`directions` can be computed and searched."""
    for name in study.directions:
        about, count = DIRECTIONS[name], len(study.checkpoints)
        if count < about.least:
            raise ValueError(
                f"directions: '{name}' merges {about.least} checkpoints or more, found {count}"
            )
        if name in study.checkpoints:
            raise ValueError(
                f"checkpoint name '{name}' is a direction's, too; give the checkpoint another"
            )
    own = [method for method in study.methods if method not in PLAIN or method == "expo"]
    if vectors(study.directions) and own:
        raise ValueError(
            f"directions: '{vectors(study.directions)[0]}' is a source of its own, which method "
            f"'{own[0]}' cannot take: it masks or turns the checkpoints' deltas; use "
            f"`method: exme`"
        )
    if study.directions and study.vocabulary == "union":
        raise ValueError(
            "directions are computed for one vocabulary; leave out `vocabulary: union`"
        )


def check_starts(study: StudyFile) -> None:
    """`starts` name checkpoints and parameters, and what they say is what is tried."""
    for start in study.starts:
        try:
            check_names(start, study.checkpoints, study)
            _check_start(study, start)
        except ValueError as error:
            raise ValueError(f"starts: {error}") from None


def _check_start(study: StudyFile, start: Mapping[str, float]) -> None:
    """A method can make it, and the space holds it."""
    space = Space(study.methods, list(study.checkpoints))
    given = {name: float(start.get(name, 0.0)) for name in study.checkpoints}
    check_made(study, space, given)
    proposal = space.to_parameters(given, start)
    for name, (low, high) in space.bounds(*study.space.coefficients).items():
        value = float(proposal[name])
        if not low <= value <= high:
            raise ValueError(
                f"{name} is {value:g}, outside of {low:g} to {high:g}, and would not be tried"
                f"{'' if name in space.own else '; change space.coefficients'}"
            )


def check_budget(study: StudyFile) -> None:
    """The search has an end."""
    b = study.budget
    if not any(limit is not None for limit in b.model_dump().values()):
        raise ValueError("budget: set at least one of trials, documents, minutes, hours, gain")
