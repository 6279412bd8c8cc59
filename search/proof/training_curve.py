"""The checkpoints of a training run on the search documents: a curve over training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exme.search.merging import Candidate
from exme.search.study import TrainingRunSection
from exme.search.trials import Objective, Standing, TrialRecord, standing_of, standings

from .left_out import inputs_alone


@dataclass(frozen=True)
class CurvePoint:
    """One checkpoint of a training run, or the base.

    Attributes:
        name: its name.
        step: of training; 0 for the base, None where the trainer does not say.
        loss: of the trainer's own evaluation at that step, where there was one.
        standing: what is known of its score, by the search documents.
        is_kept: the search went on with it.
    """

    name: str
    step: int | None
    loss: float | None
    standing: Standing
    is_kept: bool


def training_curve(
    run: TrainingRunSection | None,
    inputs: Mapping[str, Candidate],
    trials: Sequence[TrialRecord],
    written: Sequence[TrialRecord],
    objective: Objective,
) -> tuple[CurvePoint, ...]:
    """The base and all checkpoints of a training run that were scored, in order of their steps.

    Of those that are searched with it is what the search knows of them; of the others what the first stage does.

    Args:
        run: the training run; None where there is none.
        inputs: the base and all checkpoints, by name.
        trials: of the search.
        written: the same as the storage has them: those of a first stage are of one input each.
        objective: of the search.
    """
    if run is None:
        return ()
    alone = inputs_alone(written)
    known = standings(trials)
    first = standings(objective.rate(list(alone.values())))
    found = []
    for name, candidate in inputs.items():
        own = alone[name].candidate.digest if name in alone else ""  # type: ignore[union-attr]  # these have candidates
        standing = standing_of(known, candidate.digest) or standing_of(first, own)
        if standing is not None:
            step = 0 if name == "base" else run.steps.get(name)
            kept = name != "base" and name not in run.dropped
            found.append(CurvePoint(name, step, run.losses.get(name), standing, kept))
    return tuple(sorted(found, key=lambda p: (p.step is None, p.step or 0)))
