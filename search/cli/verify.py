"""`exme verify`: our scores beside lm-eval's own, for any study and model."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exme.evaluators.harness import Chat, Evaluation, hf_model, lm_eval_scores
from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.model_folder import write_model
from exme.search.merging.resident import load_model, load_tokenizer
from exme.search.running.search import Search, open_search
from exme.search.scoring.live_model import LocalModel
from exme.search.scoring.served_model import ServedModel
from exme.search.scoring.worker import Worker
from exme.search.study.study_file import load_study_file
from exme.search.trials.ranking import best_trial
from exme.tasks.documents import SuiteDocuments
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
        as_hf: of how many documents the answer (without one, the score) is that of lm-eval's `hf` model, where
            lm-eval was run with its `vllm` model: sums in another order may give another answer.
    """

    suite: str
    metric: str
    count: int
    ours: float
    theirs: float
    differing: tuple[str, ...]
    our_seconds: float
    their_seconds: float
    as_hf: int | None = None

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
        with open_search(path, task, runs=runs) as run:
            trial = best_trial(run.trials)
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
    ours = []
    try:
        worker.live.take_in(candidate)
        for judge in worker.judges("search"):
            start = time.perf_counter()
            ours.append((judge.score(worker.engine), judge.chat, time.perf_counter() - start))
    finally:
        worker.close()
    with _alone(search, worker, candidate) as (theirs, hf):
        return [
            _compare(search, documents, *mine, theirs, hf)
            for documents, mine in zip(search.documents, ours, strict=True)
        ]


@contextlib.contextmanager
def _alone(search: Search, worker: Worker, candidate: Candidate) -> Iterator[tuple[Any, Any]]:
    """lm-eval's own model with a candidate's weights; where that is not its `hf` model, this one, too."""
    batch_size = search.study.batch_size
    if isinstance(worker.live, LocalModel):
        yield hf_model(worker.resident.model, worker.resident.tokenizer, batch_size), None
        return
    from exme.evaluators.vllm.alone import vllm_alone  # noqa: PLC0415  (imports vLLM)

    with tempfile.TemporaryDirectory(prefix="exme-verify-") as temporary:
        folder = Path(temporary)
        write_model(folder, search.sources, candidate, code=search.study.trust_remote_code)
        model = load_model(folder, search.precision.compute, search.study.trust_remote_code).eval()
        tokenizer = load_tokenizer(folder, search.study.trust_remote_code)
        hf = hf_model(model, tokenizer, batch_size)
        assert isinstance(worker.live, ServedModel)
        with vllm_alone(worker.live.started(folder), search.study.vllm.settings) as theirs:
            yield theirs, hf


def _compare(
    search: Search,
    documents: SuiteDocuments,
    mine: Evaluation,
    chat: Chat,
    seconds: float,
    model: Any,
    hf: Any,
) -> Parity:
    start = time.perf_counter()
    theirs = lm_eval_scores(documents, search.study.data, "search", model, chat)
    their_seconds = time.perf_counter() - start
    scores = mine.scores
    sizes = {t: sum(d.task == t for d in documents.search) for t in theirs.aggregates}
    weighed = sum(theirs.aggregates[t] * n for t, n in sizes.items()) / sum(sizes.values())
    by_hf = None
    if hf is not None:
        other = lm_eval_scores(documents, search.study.data, "search", hf, chat)
        said = dict(zip(scores.documents, mine.answers, strict=True))
        by_hf = (
            sum(other.answers[d] == said[d] for d in other.answers)
            if other.answers
            else sum(
                other.per_document[d] == v
                for d, v in zip(scores.documents, scores.values, strict=True)
            )
        )
    return Parity(
        suite=scores.suite,
        metric=scores.metric,
        count=scores.count,
        ours=scores.mean,
        theirs=weighed,
        differing=tuple(
            d
            for d, v in zip(scores.documents, scores.values, strict=True)
            if theirs.per_document.get(d) != v
        ),
        our_seconds=seconds,
        their_seconds=their_seconds,
        as_hf=by_hf,
    )


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
    lines += [
        f"{parity.suite}: {parity.as_hf} of {parity.count} answers are those of lm-eval's `hf` model."
        for parity in found
        if parity.as_hf is not None
    ]
    return "\n".join(lines)
