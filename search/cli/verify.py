"""`exme verify`: our scores beside lm-eval's own, for any study and model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exme.evaluators.harness import lm_eval_scores
from exme.search.merging.candidate import Candidate
from exme.search.running.search import Search, open_search
from exme.search.running.stored_search import open_stored
from exme.search.study.study_file import load_study_file
from exme.search.trials.ranking import best_trial
from exme.tasks.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Parity:
    """One suite, judged by us and by `lm_eval.simple_evaluate`.

    Attributes:
        suite: its name; `metric` is lm-eval's metric and filter.
        count: documents; `equal` of them have the same score in both.
        ours: mean score by us; `theirs` by lm-eval, weighed by the documents of each lm-eval task.
        differing: identifiers of documents whose scores differ.
        our_seconds: wall time of our evaluation, prompts built and tokenised before; `their_seconds`
            of all that lm-eval did.
    """

    suite: str
    metric: str
    count: int
    ours: float
    theirs: float
    differing: tuple[str, ...]
    our_seconds: float
    their_seconds: float

    @property
    def equal(self) -> bool:
        """Whether every document and the aggregate agree."""
        return not self.differing and abs(self.ours - self.theirs) < 1e-9


def verify_study(
    path: Path, task: str | None, model: str, documents: int | None, runs: Path
) -> list[Parity]:
    """Judge one model twice on each of a study's suites; the study's own run stays as it is.

    Args:
        path: the study file.
        task: suites, as `open_search` takes them.
        model: ``base``, a checkpoint's name, or ``best`` for the best candidate of the run.
        documents: search documents of each suite; None for as many as the study has.
        runs: folder of all runs.

    Raises:
        UserError: the study cannot be used, or there is no such model.
    """
    study = load_study_file(path)
    best: Candidate | None = None
    if model == "best":
        trial = best_trial(open_stored(path, task, runs).trials)
        best = trial.candidate if trial else None
        if best is None:
            raise UserError(f"{path}: no trial yet, so no best candidate; verify the base instead")
    sizes = study.documents if documents is None else study.documents.model_copy(
        update={"search": documents}
    )  # fmt: skip
    content = study.model_copy(update={"documents": sizes, "storage": None})
    with (
        tempfile.TemporaryDirectory(prefix="exme-verify-") as folder,
        open_search(content, task, name=path.stem, runs=folder) as search,
    ):
        inputs = search.inputs()
        if best is None and model not in inputs:
            known = [*inputs, "best"]
            raise UserError(
                f"no model '{model}' (have: {', '.join(known)}){did_you_mean(model, known)}"
            )
        return _verify(search, best or inputs[model])


def _verify(search: Search, candidate: Candidate) -> list[Parity]:
    worker = search.local_worker()
    worker.resident.materialise(candidate)
    found = []
    for judge, documents in zip(worker.judges("search"), search.documents, strict=True):
        start = time.perf_counter()
        scores = judge.score(worker.engine).scores
        middle = time.perf_counter()
        theirs = lm_eval_scores(
            documents,
            search.study.data,
            "search",
            worker.resident.model,
            worker.resident.tokenizer,
            search.study.batch_size,
            judge.chat,
        )
        end = time.perf_counter()
        pairs = zip(scores.documents, scores.values, strict=True)
        sizes = {t: sum(d.task == t for d in documents.search) for t in theirs.aggregates}
        weighed = sum(theirs.aggregates[t] * n for t, n in sizes.items()) / sum(sizes.values())
        found.append(
            Parity(
                suite=scores.suite,
                metric=scores.metric,
                count=scores.count,
                ours=scores.mean,
                theirs=weighed,
                differing=tuple(d for d, v in pairs if theirs.per_document.get(d) != v),
                our_seconds=middle - start,
                their_seconds=end - middle,
            )
        )
    return found


def table(found: Sequence[Parity]) -> str:
    """The comparison as a Markdown table."""
    lines = [
        "| suite | metric | documents | ours | lm-eval | equal | seconds, ours | seconds, lm-eval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for parity in found:
        same = parity.count - len(parity.differing)
        lines.append(
            f"| {parity.suite} | {parity.metric} | {parity.count} | {parity.ours:.4f} | "
            f"{parity.theirs:.4f} | {same} of {parity.count} | {parity.our_seconds:.1f} | "
            f"{parity.their_seconds:.1f} |"
        )
    return "\n".join(lines)
