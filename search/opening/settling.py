"""What a study's file leaves to be settled once its suites and documents are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from exme.evaluators import HIGHER, TARGET_NLL, Scale
from exme.search.racing import Goal
from exme.search.storage import StudyRecord
from exme.search.study import StudyFile, alone
from exme.search.trials import GRAM, SAMPLED, Gram, Objective, Shift, settle_shift
from exme.tasks import Suite, SuiteDocuments, UserError

if TYPE_CHECKING:
    from exme.search.scoring import Measure


def settle_objective(
    study: StudyFile,
    sizes: Mapping[str, int],
    checkpoints: Sequence[str],
    scales: Mapping[str, Scale] | None = None,
    highest: float | None = None,
) -> Objective:
    """What a study maximises on these suites.

    Args:
        sizes: search documents of each suite that is searched on, in order.
        scales: of the suites' metrics, where they are known.
        highest: score that a document can have; by default what the scales say.

    Raises:
        UserError: none of the suites counts.
    """
    suites = tuple(sizes)
    weights = [study.weights.get(name, 1.0) for name in suites]
    if not sum(weights):
        raise UserError(
            f"weights: {', '.join(suites)} have weight 0, so there is nothing to search for"
        )
    by_target = study.measure == "target_nll"
    known = {name: (scales or {}).get(name, HIGHER) for name in suites}
    if by_target:
        known = dict.fromkeys(suites, Scale.of(TARGET_NLL, higher_is_better=False))
    counted = sum(w > 0 for w in weights)
    points = 1.0 if by_target else 0.01
    keep = tuple(study.keep[s] * points if s in study.keep else -math.inf for s in suites)
    goal = Goal(
        weights=tuple(w / sum(weights) for w in weights),
        kind=study.goal if len(suites) > 1 else "mean",
        tail=max(1, math.ceil(study.tail * counted - 1e-9)),
        keep=keep if any(k > -math.inf for k in keep) else (),
    )
    return Objective(
        suites=suites,
        sizes=tuple(sizes.values()),
        inputs=tuple(alone(name) for name in checkpoints),
        goal=goal,
        highest=highest
        if highest is not None
        else max(1.0 if scale.top is None else scale.top for scale in known.values()),
        scales=known,
    )


def objective_of(
    study: StudyFile, documents: Sequence[SuiteDocuments], measure: Measure | None
) -> Objective:
    """What a study maximises, by the measure and the documents that are open.

    Args:
        study: the study file, or what it says of one stage.
        measure: one of the study's own; None where it has none.
    """
    sizes = {found.suite.suite: len(found.search) for found in documents}
    scales = {
        found.suite.suite: measure.scale if measure else scale_of_suite(found.suite)
        for found in documents
    }
    highest = math.inf if measure is not None and not measure.is_bounded else None
    return settle_objective(study, sizes, list(study.checkpoints), scales, highest)


def scale_of_suite(suite: Suite) -> Scale:
    """Of a suite whose direction is settled (`harness.settle`)."""
    return Scale.of(suite.metric_name, suite.higher_is_better is not False)


def shift_of(study: StudyFile, record: StudyRecord) -> Shift | None:
    """A study's measure of shift, by what its storage holds; None before the task vectors were measured."""
    measured = record.agreed(GRAM) if study.shift is not None else None
    return None if measured is None else settle_shift(study, Gram.from_json(measured))


def sampled_gram(record: StudyRecord) -> Gram | None:
    """How a study's task vectors lie, as its storage holds it (`gram.sample`); None before they were measured."""
    found = record.agreed(SAMPLED)
    return None if found is None else Gram.from_json(found)
