"""Any models scored on the same report documents, one in memory at a time, and compared."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from exme.evaluators import DocumentScores, Scores, join
from exme.search.merging import Candidate
from exme.search.merging.sources import Checkpoint, Sources, locate
from exme.search.opening import (
    check_memory,
    give_back_memory,
    load_study_documents,
    pinned_facts,
    scale_of_suite,
    settle_objective,
    weigh,
)
from exme.search.proof import Comparison, claim_comparison, compare_models
from exme.search.scoring import Precision, Worker, choose_engine, settle_precision
from exme.search.storage import StoredStudy
from exme.search.study import StudyFile
from exme.tasks import Suite, SuiteDocuments, UserError

from .screen import Screen

# Scores that are kept, beside the runs.
KEPT = "compare"


@dataclass(frozen=True)
class Model:
    """A model that is compared, opened and not loaded.

    Attributes:
        name: as it is called.
        sources: itself, as a base without checkpoints.
        study: by which it is scored.
        precision: dtypes, device and engine.
        key: SHA-256 of all that decides its scores.
    """

    name: str
    sources: Sources
    study: StudyFile
    precision: Precision
    key: str


def compare(
    models: Mapping[str, str],
    study: StudyFile,
    suites: Sequence[Suite],
    runs: Path,
    screen: Screen | None = None,
    stored: StoredStudy | None = None,
) -> Comparison:
    """Score models on the report documents of suites, and compare every two of them.

    What was scored is kept in ``compare/`` of the folder of runs, model by model: the same command goes on there. The comparison
    is a use of these documents (`number_of`), written down before the first is scored.

    Args:
        models: where each is, by the names to call them; two or more.
        study: whose settings hold: data, documents, chat, dtypes, device, engine.
        suites: what to score them on.
        runs: folder of all runs.
        screen: says what goes on.
        stored: a study whose report documents these are, for its storage counts their uses, too.

    Raises:
        UserError: a model or the documents cannot be used.
    """
    screen = screen or Screen(Console(quiet=True))
    sources = {
        name: Sources(Checkpoint(name, locate(where, who=name)), {})
        for name, where in models.items()
    }
    screen.note("Reading the documents")
    documents = [load_study_documents(study, suite) for suite in suites]
    opened = [
        _settle(name, sources[name], study.model_copy(update={"base": where}), documents)
        for name, where in models.items()
    ]
    keys = [model.key for model in opened]
    if len(set(keys)) < len(keys):
        twins = [model.name for model in opened if keys.count(model.key) > 1]
        raise UserError(f"compare: {' and '.join(twins[:2])} are the same model; name it once")
    try:
        (runs / KEPT).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{runs / KEPT}: cannot be made ({error.strerror}); scores are kept there; give another folder with --runs"
        ) from None
    use = claim_comparison(keys, documents, runs, stored)
    scores: dict[str, Scores] = {}
    for number, model in enumerate(opened, 1):
        told = f"{model.name} ({number} of {len(opened)})"
        kept = runs / KEPT / f"{model.key}.json"
        found = _read(kept)
        if found is None:
            count = sum(len(each.report) for each in documents)
            screen.note(f"Scoring {told} on {count:,} report documents")
            found = _score(model, documents)
            _write(kept, found)
        else:
            screen.say(f"Scored before: {told}.")
        scores[model.name] = found
    return compare_models(scores, use)


def _settle(
    name: str, sources: Sources, own: StudyFile, documents: Sequence[SuiteDocuments]
) -> Model:
    """A model with all that decides its scores."""
    engine = choose_engine(own, sources.base.config).name
    precision = settle_precision(own, sources.base.dtype, engine)
    sizes = {found.suite.suite: len(found.report) for found in documents}
    scales = {found.suite.suite: scale_of_suite(found.suite) for found in documents}
    objective = settle_objective(own, sizes, [], scales)
    facts = pinned_facts(own, documents, sources, precision, objective)
    del facts["checkpoints"], facts["method"], facts["groups"], facts["directions"]
    text = json.dumps(facts, sort_keys=True, default=str)
    return Model(name, sources, own, precision, hashlib.sha256(text.encode()).hexdigest()[:32])


def _score(model: Model, documents: Sequence[SuiteDocuments]) -> Scores:
    """A model's scores by the suites' metrics; its memory is given back."""
    check_memory(weigh(model.sources, model.precision), model.precision, "mapped")
    study = model.study.model_copy(update={"residence": "mapped", "measure": "metric"})
    worker = Worker(study, model.sources, documents, model.precision)
    try:
        candidate = Candidate(
            {}, "task_arithmetic", model.precision.dtype, model.sources.fingerprints
        )
        return worker.score(candidate, "report").scores
    except (FloatingPointError, ValueError) as error:
        raise UserError(f"{model.name}: cannot be scored ({error})") from None
    finally:
        worker.close()
        del worker
        give_back_memory()


def _read(path: Path) -> Scores | None:
    """Scores that were kept; None where there are none that can be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        parts: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return join([DocumentScores.from_json(part) for part in parts])
    return None


def _write(path: Path, scores: Scores) -> None:
    """Keep scores, all of them or none."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([part.to_json() for part in scores.parts]), encoding="utf-8")
    partial.replace(path)
