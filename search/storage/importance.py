"""Which of a search's parameters its scores depend on."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, get_args

import optuna
from optuna.trial import FrozenTrial, create_trial

from exme.evaluators.imports import kept_out
from exme.search.study.study_sections import SamplerName
from exme.search.trials.outcome import TrialRecord
from exme.search.trials.ranking import is_flat

_LIBRARY = "optuna.importance"


def importance(scored: Iterable[tuple[FrozenTrial, float]]) -> dict[str, float]:
    """Share of the spread between good and other trials that each parameter explains.

    Source: PED-ANOVA, arXiv:2304.10255, as Optuna has it. Empty where it cannot say.

    Args:
        scored: trials with their values. A stopped trial counts with its estimate here, while
            Optuna's evaluators leave out what is not complete.
    """
    study = optuna.create_study(direction="maximize")
    for trial, value in scored:
        if trial.params:
            study.add_trial(
                create_trial(params=trial.params, distributions=trial.distributions, value=value)
            )
    evaluator, importances = _ped_anova()
    try:
        # With too few trials Optuna warns and calls all parameters equal, which nobody has seen.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return dict(importances(study, evaluator=evaluator))
    except (ValueError, RuntimeError, UserWarning):  # too few trials, or all alike
        return {}


def says_something(scored: Sequence[TrialRecord]) -> bool:
    """Whether a parameter's share of the spread would be a finding.

    It is none where all scores are the same, nor where only known points differ: these vary one coefficient at a time, or
    all together, because they were chosen so.

    Args:
        scored: trials of which something is known.
    """
    names = get_args(SamplerName)
    return not is_flat(scored) and not is_flat([t for t in scored if t.origin in names])


@cache
def _ped_anova() -> tuple[Any, Any]:
    """PED-ANOVA without scikit-learn, which its neighbours load where it is installed.

    They need it and it does not: 38 MB and most of a second at the end of every search. What was
    loaded without is forgotten again, so that a program's own use of the others finds it.
    """
    if _LIBRARY in sys.modules or "sklearn" in sys.modules:
        module = importlib.import_module(_LIBRARY)
    else:
        lazy = optuna.importance
        try:
            with kept_out("sklearn"):
                module = importlib.import_module(_LIBRARY)
        finally:
            optuna.importance = lazy
            for name in [name for name in sys.modules if name.startswith(_LIBRARY)]:
                del sys.modules[name]
    return module.PedAnovaImportanceEvaluator(), module.get_param_importances
