"""A training run in a study file: ``checkpoints: {run: run/checkpoint-*, best: 2}``.

Its checkpoints are ranked first, and the search goes on with the best of them; the others are its dropped ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from exme.search.merging.folders import is_pattern, training_run
from exme.tasks import UserError

from .study_sections import Section

if TYPE_CHECKING:
    from .study_file import StudyFile

RUN, BEST = "run", "best"
# The study's field for it, which is none of its file's keys.
NO_KEY = "training_run"
# So many checkpoints are searched with at most.
MOST = 4


class TrainingRunSection(Section):
    """Where a study's checkpoints come from, where that is a training run.

    Attributes:
        run: the trainer's folder, or a pattern of checkpoints' folders.
        best: so many checkpoints are kept.
        steps: of each checkpoint, where its trainer says so.
        losses: of the trainer's own evaluation of each, where there was one.
        dropped: places of the checkpoints that are not kept, by name; empty before the first stage is over.
    """

    run: str = Field(min_length=1)
    best: int = Field(default=2, ge=1, le=MOST)
    steps: Mapping[str, int] = {}
    losses: Mapping[str, float] = {}
    dropped: Mapping[str, str] = {}


def is_training_run(checkpoints: object) -> bool:
    """Whether `checkpoints` means a training run: `best` is a number there, or `run` stands alone and is a pattern.

    Else `run` and `best` are checkpoints of these names.
    """
    if not isinstance(checkpoints, Mapping):
        return False
    if isinstance(checkpoints.get(BEST), int):
        return True
    where = checkpoints.get(RUN)
    return len(checkpoints) == 1 and isinstance(where, str) and is_pattern(where)


def refuse_no_key(raw: Mapping[str, Any], path: Path) -> None:
    """Refuse a study file that names what `checkpoints` is to say."""
    if NO_KEY in raw:
        raise UserError(
            f"{path}: unknown key '{NO_KEY}'; write checkpoints: {{run: folder or pattern, best: 2}}"
        )


def found_in_run(given: Any) -> Any:
    """What a study file says, with the checkpoints of its training run found where it has one.

    Raises:
        ValueError: they cannot be.
    """
    if not isinstance(given, dict) or not is_training_run(given.get("checkpoints")):
        return given
    try:
        checkpoints, section = _read(given["checkpoints"])
    except UserError as error:
        raise ValueError(str(error)) from None
    return {**given, "checkpoints": checkpoints, NO_KEY: section}


def _read(checkpoints: Mapping[str, Any]) -> tuple[dict[str, str], TrainingRunSection]:
    """The checkpoints that a training run has, by name, and what is known of them.

    Raises:
        ValueError: more is named than a run, or it cannot be told what.
        UserError: there are none, or one of them is not whole.
    """
    others = [name for name in checkpoints if name not in (RUN, BEST)]
    if others or RUN not in checkpoints:
        raise ValueError(
            f"checkpoints: a training run is {{run: folder or pattern, best: 2}} and stands alone, found "
            f"{', '.join(map(str, others)) or 'no run'}; name checkpoints one by one, or the run alone"
        )
    where, best = checkpoints[RUN], checkpoints.get(BEST, 2)
    if not isinstance(where, str) or not where:
        raise ValueError(
            f"checkpoints.run: expected a trainer's folder or a pattern, found {where!r}"
        )
    if isinstance(best, bool) or not 1 <= best <= MOST:
        raise ValueError(
            f"checkpoints.best: expected 1 to {MOST} checkpoints to keep, found {best!r}"
        )
    found = training_run(where)
    section = TrainingRunSection(
        run=where,
        best=best,
        steps={c.name: c.step for c in found if c.step is not None},
        losses={c.name: c.loss for c in found if c.loss is not None},
    )
    return {c.name: c.folder for c in found}, section


def as_searched(study: StudyFile) -> StudyFile:
    """The study with as many checkpoints as are searched with, whichever these will be."""
    if study.training_run is None:
        return study
    return keeping(study, list(study.checkpoints)[: study.training_run.best])


def is_ranked(study: StudyFile) -> bool:
    """Whether a study's checkpoints are ranked before the search: there are more than are kept."""
    return study.training_run is not None and len(study.checkpoints) > study.training_run.best


def keeping(study: StudyFile, kept: Sequence[str]) -> StudyFile:
    """The study with these checkpoints of its training run; the others are dropped."""
    run = study.training_run
    assert run is not None
    dropped = {name: place for name, place in study.checkpoints.items() if name not in kept}
    return study.model_copy(
        update={
            "checkpoints": {name: study.checkpoints[name] for name in kept},
            "training_run": run.model_copy(update={"dropped": dropped}),
        }
    )


def check_training_run(study: StudyFile) -> None:
    """What names a checkpoint cannot be said before it is known which are kept."""
    run = study.training_run
    if run is None:
        return
    if study.starts or (study.shift is not None and study.shift.parent is not None):
        key = "starts" if study.starts else "shift.parent"
        raise ValueError(
            f"{key}: names checkpoints, and which of the training run {run.run} are kept is not known yet; leave it out"
        )
    if study.vocabulary == "union":
        raise ValueError(
            "vocabulary: union is not for a training run, whose checkpoints have one vocabulary; name two of them instead"
        )
    needed = len(study.checkpoints) + 2
    if is_ranked(study) and study.budget.trials is not None and study.budget.trials < needed:
        raise ValueError(
            f"budget.trials: ranking {len(study.checkpoints)} checkpoints and the base takes {needed - 1} trials; found "
            f"{study.budget.trials}, expected {needed} at least"
        )
