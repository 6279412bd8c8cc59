"""Exports: the winner as a folder that transformers loads, bit for bit what was scored.

A folder is written beside its place under a hidden name, read back, and only then renamed, so that
an export that was interrupted leaves nothing that looks finished.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from exme.search.merging import Candidate
from exme.search.merging.folders import ExportResult, chat_template, check_target, export_model
from exme.search.merging.sources import TaskVector, public_names
from exme.search.proof import Outcome
from exme.search.trials import TrialRecord, scores_seen
from exme.tasks import UserError

from .licences import licence_warning, read_licence
from .lm_eval_results import lm_eval_results
from .model_card import model_card, scores_file
from .repeat import STUDY, places_to_give, study_to_repeat
from .selection import pick

if TYPE_CHECKING:
    from exme.search.running import StoredSearch

SCORES = "exme_scores.json"
RESULTS = "lm_eval_results.json"


def export_best(search: StoredSearch, out: str | Path, *, force: bool = False) -> ExportResult:
    """Export the best candidate of a search.

    Args:
        search: the search, open.
        out: the folder to write.
        force: replace an earlier export there.

    Raises:
        UserError: there is no winner yet, or the folder cannot be written.
    """
    folder = Path(out).expanduser().resolve()
    check_target(folder, search.sources, force=force)
    outcome = search.outcome()
    return export_trial(search, outcome, _winner(outcome), folder, force=force)


def export_trials(
    search: StoredSearch,
    out: str | Path,
    *,
    number: int | None = None,
    top: int | None = None,
    pareto: bool = False,
    force: bool = False,
    repository: str = "",
) -> list[ExportResult]:
    """Export chosen trials: one into the folder itself, several into ``trial-<number>`` in it.

    Args:
        search: the search, open.
        out: the folder.
        number: see `selection.pick`; so are `top` and `pareto`.
        force: replace earlier exports there.
        repository: on the hub, where the export will go; its card says how to load it from there.

    Raises:
        UserError: there is no such trial, or a folder cannot be written.
    """
    outcome = search.outcome()
    _winner(outcome)
    chosen = pick(outcome.trials, number=number, top=top, pareto=pareto)
    folder = Path(out).expanduser().resolve()
    several = top is not None or pareto
    places = [folder / f"trial-{t.number}" if several else folder for t in chosen]
    for place in places:  # all of them, before the first is written
        check_target(place, search.sources, force=force)
    return [
        export_trial(search, outcome, trial, place, force=force, repository=repository)
        for trial, place in zip(chosen, places, strict=True)
    ]


def _winner(outcome: Outcome) -> TrialRecord:
    if outcome.winner is None or outcome.winner.candidate is None:
        raise UserError(
            f"study {outcome.study}, suite {outcome.task}: no trial has been scored yet; run "
            f"`exme search` first"
        )
    return outcome.winner


def export_trial(
    search: StoredSearch,
    outcome: Outcome,
    trial: TrialRecord,
    folder: Path,
    *,
    force: bool,
    repository: str = "",
) -> ExportResult:
    """Export one trial's candidate with its papers.

    Args:
        search: the search, open.
        outcome: what it found.
        trial: one that was scored, in part at least; the papers say so where it is not the winner.
        folder: the resolved folder.
        force: replace an earlier export there.
        repository: see `export_trials`.
    """
    assert trial.candidate is not None
    scores = scores_seen(trial)
    sentence, advice, is_winner = _told(outcome, trial)
    if not is_winner:
        outcome = replace(outcome, winner=trial, merged=None, also=())
    places = _places(search)
    names = {name: places[name] for name in ("base", *search.study.checkpoints)}
    sources = {"base": search.sources.base, **search.sources.checkpoints}
    licences = {name: read_licence(source.folder) for name, source in sources.items()}
    card = model_card(
        outcome,
        names=names,
        verdict=sentence,
        licences=licences,
        taken=chat_template(search.sources)[1],
        version=metadata.version("exme"),
        place=repository or ".",
        tasks=[task for found in search.documents for task in found.suite.lm_eval_tasks],
        missing=places_to_give(search.study, names),
    )
    scored = outcome.merged.report if outcome.merged is not None else scores
    result = export_model(
        search.sources,
        trial.candidate,
        folder,
        force=force,
        card=card,
        names=places,
        code=search.study.trust_remote_code,
        extra={
            STUDY: study_to_repeat(search.study, names),
            SCORES: scores_file(outcome),
            RESULTS: lm_eval_results(
                scored, search.documents, model=folder.name, seed=search.study.documents.seed
            ),
        },
    )
    return replace(result, warning=licence_warning(names, licences), verdict=advice)


def _places(search: StoredSearch) -> dict[str, str]:
    """Where all sources are, as may be told; a recipe finds a direction's task vector in its folder in the run's."""
    vectors = {
        name: str(source.folder)
        for name, source in search.sources.checkpoints.items()
        if isinstance(source, TaskVector)
    }
    return public_names({"base": search.study.base, **search.study.checkpoints, **vectors})


def _told(outcome: Outcome, trial: TrialRecord) -> tuple[str, str, bool]:
    """The sentence of a trial's card, the one that its export ends with, and whether it is the winner."""
    from exme.search.trials import count_of  # noqa: PLC0415  (loads scipy)

    decision, winner = outcome.verdict, _winner(outcome)
    sentence = decision.sentence
    assert trial.candidate is not None and winner.candidate is not None
    if trial.candidate.digest != winner.candidate.digest:
        part = (
            ""
            if trial.scores is not None
            else f"scored on {count_of(scores_seen(trial))} alone and "
        )
        sentence = (
            f"Not the best candidate: trial {trial.number}, {part}not proved on report documents. The "
            f"search's winner is trial {winner.number}. Of that: {sentence}"
        )
        return sentence, sentence, False
    if decision.is_final and decision.recommended not in ("", _name(outcome, trial.candidate)):
        return sentence, f"This is not the model to use. {sentence}", True
    return sentence, sentence, True


def _name(outcome: Outcome, candidate: Candidate) -> str:
    """What a verdict calls the winner: an input's name where it is one."""
    same = (e.name for e in outcome.inputs if e.candidate.digest == candidate.digest)
    return next(same, "merged")
