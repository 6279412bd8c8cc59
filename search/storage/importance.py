"""Which of a search's parameters its scores depend on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import optuna
from optuna.trial import FrozenTrial, create_trial

from exme.search.study import study_sections
from exme.search.trials import TrialRecord, is_flat


def importance(scored: Iterable[tuple[FrozenTrial, float]]) -> dict[str, float]:
    """Share of the spread between good and other trials that each parameter explains.

    Source: PED-ANOVA, arXiv:2304.10255, as Optuna has it. Empty where it cannot say.

    Args:
        scored: trials with their values. A rejected trial counts with its estimate here, while
            Optuna's evaluators leave out what is not complete.
    """
    # Slow to import: it brings scikit-learn where that is installed.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # noqa: PLC0415

    study = optuna.create_study(direction="maximize")
    for trial, value in scored:
        if trial.params:
            study.add_trial(
                create_trial(params=trial.params, distributions=trial.distributions, value=value)
            )
    try:
        # With too few trials Optuna warns and calls all parameters equal, which nobody has seen.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
    except (ValueError, RuntimeError, UserWarning):  # too few trials, or all alike
        return {}


def says_something(scored: Sequence[TrialRecord]) -> bool:
    """Whether a parameter's share of the spread would be a finding.

    It is none where all scores are the same, nor where only known points differ: these vary one coefficient at a time, or
    all together, because they were chosen so.

    Args:
        scored: trials of which something is known.
    """
    names = study_sections.SAMPLER_NAMES
    return not is_flat(scored) and not is_flat([t for t in scored if t.origin in names])
