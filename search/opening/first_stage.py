"""The two stages of a study of a training run: its checkpoints are ranked, then the best are searched with.

Both are one study in one storage. While nothing is agreed of who is kept, its candidates are the inputs, each by itself; then
its sources are the kept ones, and the trials of before are those of its inputs (`Settled.placed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exme.search.merging import Candidate
from exme.search.merging.methods import TaskArithmetic
from exme.search.proposing import BASE, Halving, Plan, Settled
from exme.search.storage import StudyRecord
from exme.search.study import StudyFile, is_ranked, keeping
from exme.search.trials import Objective

from .settling import sampled_gram, shift_of

if TYPE_CHECKING:
    from exme.search.merging.sources import Sources

# Where a study keeps who was kept; see `StudyRecord.agree_on`.
KEPT = "kept"


def study_of(file: StudyFile, record: StudyRecord) -> StudyFile:
    """A study as it is searched now.

    Args:
        file: as its file says.
    """
    if not is_ranked(file):
        return file
    kept: Sequence[str] | None = record.agreed(KEPT)
    if kept is not None:
        return keeping(file, kept)
    return file.model_copy(
        update={
            "method": "exme",
            "groups": None,
            "directions": (),
            "shift": None,
            "keep": {},
            "goal": "mean",
            "sampler": file.sampler.model_copy(update={"name": "auto"}),
            "racing": file.racing or type(file).model_fields["racing"].default,
        }
    )


def sources_of(found: Sources, study: StudyFile) -> Sources:
    """The base and the checkpoints that are searched with; those that are ranked, or were dropped, are the others.

    Args:
        found: all that the study names.
        study: as it is searched now.
    """
    names = () if is_ranked(study) else study.checkpoints
    others = {name: c for name, c in found.checkpoints.items() if name not in names}
    if not others:
        return found
    from exme.search.merging.sources import Sources  # noqa: PLC0415  (loads torch)

    return Sources(found.base, {name: found.checkpoints[name] for name in names}, others=others)


def input_alone(name: str, fingerprints: Mapping[str, str], dtype: str) -> Candidate:
    """The base, or a checkpoint of a training run by itself, whatever else is searched with.

    Args:
        fingerprints: of the base and the checkpoints.
    """
    own = {n: fingerprints[n] for n in (BASE, name)}
    return Candidate({} if name == BASE else {name: 1.0}, TaskArithmetic.name, dtype, own)


def settled_of(
    study: StudyFile,
    record: StudyRecord,
    objective: Objective,
    groups: Sequence[str],
    directions: Mapping[str, Mapping[str, Any]] | None,
    documents: Mapping[str, Sequence[str]],
    dtype: str,
    fingerprints: Mapping[str, str],
) -> Settled:
    """What is settled of a study, by what its storage holds.

    Args:
        study: as it is searched now.
        groups: labels of the groups of tensors, where the study has some.
        directions: as they were computed, by name; before that None.
        documents: identifiers of the search documents of each suite.
        fingerprints: of the base, all checkpoints, and what else candidates are made of.
    """
    shift, gram = shift_of(study, record), sampled_gram(record)
    run, halving = study.training_run, None
    count = sum(map(len, documents.values()))
    if run is not None and is_ranked(study):
        names = (BASE, *study.checkpoints)
        alone = {name: input_alone(name, fingerprints, dtype) for name in names}
        halving = Halving(alone, run.best, count, gram)
    dropped = run.dropped if run is not None else {}
    report = sum(len(record.identifiers(suite, "report")) for suite in documents)
    return Settled(
        study,
        Plan(study, groups if study.groups is not None else (), directions, shift),
        replace(objective, shift=shift, gram=None if study.directions else gram),
        documents,
        dtype,
        {name: found for name, found in fingerprints.items() if name not in dropped},
        halving,
        report * models_to_prove(study) + 2 * record.count_also(),
    )


def models_to_prove(study: StudyFile) -> int:
    """The winner, the base and every checkpoint, those of a training run that were dropped among them."""
    run = study.training_run
    return 2 + len(study.checkpoints) + (len(run.dropped) if run is not None else 0)
