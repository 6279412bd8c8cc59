"""`exme verify`: our scores beside lm-eval's own, for any study and model."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from exme.evaluators.harness import Evaluation, Judge, LmEvalScores, hf_model, lm_eval_scores
from exme.search.merging import Candidate, load_model, load_tokenizer
from exme.search.merging.folders import write_model
from exme.search.running import Screen, Search, open_stored
from exme.search.scoring import LocalModel, ServedModel, Worker
from exme.search.study import load_study_file, measure_of_ones_own
from exme.search.trials import best_trial
from exme.tasks import SuiteDocuments, UserError, did_you_mean

from .options import open_beside

_NO_METRIC = "lm-eval knows nothing of a measure of your own; verify with `measure: metric`"

# Log-likelihoods of the fast engine are within 1e-4 nats of lm-eval's `hf` model, and of long continuations
# within float32's last digits (docs/engine.md); so are scores that are made of them.
_ABSOLUTE, _RELATIVE = 1e-4, 1e-5


@dataclass(frozen=True)
class Parity:
    """One suite, judged by us and by `lm_eval.simple_evaluate`.

    Attributes:
        suite: its name; `metric` is lm-eval's metric and filter.
        model: which model was judged, for people.
        count: documents.
        ours: mean of the metric by us; `theirs` by lm-eval, weighed by the documents of each lm-eval task.
        differing: identifiers of documents whose values differ by more than is promised.
        answering: identifiers of documents whose answers differ, be it by a letter.
        generates: whether there are answers to compare.
        our_seconds: wall time of our evaluation, prompts built and tokenised before; `their_seconds`
            of all that lm-eval did.
        as_hf: of how many documents the answer (without one, the value) is that of lm-eval's `hf` model, where
            lm-eval was run with its `vllm` model: sums in another order may give another answer.
    """

    suite: str
    metric: str
    model: str
    count: int
    ours: float
    theirs: float
    differing: tuple[str, ...]
    answering: tuple[str, ...]
    generates: bool
    our_seconds: float
    their_seconds: float
    as_hf: int | None = None

    @property
    def equal(self) -> bool:
        """Whether every answer and every value, and the aggregate, agree as far as is promised."""
        return not self.differing and not self.answering and _agree(self.ours, self.theirs)

    @property
    def same(self) -> int:
        """Documents on which all agrees."""
        return self.count - len({*self.differing, *self.answering})


def _agree(ours: float, theirs: float | None) -> bool:
    return theirs is not None and math.isclose(ours, theirs, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def verify_study(
    path: Path,
    task: str | None,
    model: str,
    documents: int | None,
    runs: Path,
    screen: Screen | None = None,
) -> list[Parity]:
    """Judge one model twice on each of a study's suites; the study's own run stays as it is.

    Args:
        path: the study file.
        task: suites, as `open_search` takes them.
        model: ``base``, a checkpoint's name, or ``best`` for the best candidate of the run.
        documents: search documents of each suite; None for as many as the study has.
        runs: folder of all runs.
        screen: says what goes on.

    Raises:
        UserError: the study cannot be used, or there is no such model.
    """
    screen = screen or Screen(Console(quiet=True))
    study = load_study_file(path)
    if measure_of_ones_own(study.measure):
        raise UserError(f"{path}: {_NO_METRIC}")
    best: Candidate | None = None
    told = f"base ({study.base})"
    if model in study.checkpoints:
        told = f"checkpoint {model} ({study.checkpoints[model]})"
    if model == "best":
        run = open_stored(path, task, runs)
        trial = best_trial(run.trials)
        best = trial.candidate if trial else None
        told = f"trial {trial.number} of study {run.folder.name}, the best so far" if trial else ""
        if best is None:
            raise UserError(f"{path}: no trial yet, so no best candidate; verify the base instead")
    sizes = study.documents if documents is None else study.documents.model_copy(
        update={"search": documents}
    )  # fmt: skip
    content = study.model_copy(update={"documents": sizes})
    with open_beside(content, path, task, screen) as search:
        inputs = search.inputs()
        if best is None and model not in inputs:
            known = [*inputs, "best"]
            raise UserError(
                f"no model '{model}' (have: {', '.join(known)}){did_you_mean(model, known)}"
            )
        candidate = best or inputs[model]
        screen.say(f"Loading {told}.")
        worker = search.local_worker()
        judged = []
        try:
            worker.take_in(candidate)
            for judge, asked in zip(worker.judges("search"), search.documents, strict=True):
                judged.append(_judge(worker, judge, asked, told, screen))
        finally:
            worker.close()
        with _alone(search, worker, candidate) as others:
            return [_compare(each, others, screen) for each in judged]


@dataclass(frozen=True)
class _Judged:
    """One suite, judged by us."""

    documents: SuiteDocuments
    judge: Judge
    evaluation: Evaluation
    told: str
    seconds: float


@dataclass(frozen=True)
class _Others:
    """lm-eval's own model with the same weights.

    Attributes:
        name: of its class.
        model: gives it for a size of batches.
        batch_size: of the first try; where answers differ they are asked for one by one, unless it is 1.
        hf: its `hf` model, where it is not the one that is compared with.
    """

    name: str
    model: Callable[[int], Any]
    batch_size: int
    hf: Any = None


def _judge(
    worker: Worker,
    judge: Judge,
    documents: SuiteDocuments,
    told: str,
    screen: Screen,
) -> _Judged:
    """Judge the model that is in a worker by one suite."""
    count = len(documents.search)
    screen.note(f"{documents.suite.suite}: {count} documents, by ExMe ({worker.engine_name})")
    start = time.perf_counter()
    evaluation = judge.score(worker.engine)
    return _Judged(documents, judge, evaluation, told, time.perf_counter() - start)


@contextlib.contextmanager
def _alone(search: Search, worker: Worker, candidate: Candidate) -> Iterator[_Others]:
    """lm-eval's own model with a candidate's weights: `hf`, or `vllm` where vLLM has answered."""
    if isinstance(worker.live, LocalModel):
        resident = worker.resident
        yield _Others(
            "hf", lambda n: hf_model(resident.model, resident.tokenizer, n), worker.batch_size
        )
        return
    from exme.evaluators.vllm import vllm_alone  # noqa: PLC0415  (imports vLLM)

    assert isinstance(worker.live, ServedModel)
    code = search.study.trust_remote_code
    with tempfile.TemporaryDirectory(prefix="exme-verify-") as temporary:
        folder = Path(temporary)
        search.screen.note("Writing the candidate, and starting lm-eval's vllm model on it")
        write_model(folder, search.sources, candidate, code=code)
        model = load_model(folder, search.precision.compute, code).eval()
        hf = hf_model(model, load_tokenizer(folder, code), worker.batch_size)
        with vllm_alone(worker.live.started(folder), search.study.vllm.settings) as theirs:
            yield _Others("vllm", lambda _: theirs, 1, hf)


def _compare(judged: _Judged, others: _Others, screen: Screen) -> Parity:
    """Have lm-eval score the same documents by itself."""
    documents, evaluation = judged.documents, judged.evaluation
    suite, scores = documents.suite.suite, evaluation.scores
    screen.note(f"{suite}: the same by lm-eval's {others.name} model")
    start = time.perf_counter()

    def theirs_of(batch_size: int, only: Sequence[str] | None = None) -> LmEvalScores:
        model = others.model(batch_size)
        return lm_eval_scores(documents, "search", model, judged.judge.chat, only)

    theirs = theirs_of(others.batch_size)
    answers = dict(zip(scores.documents, evaluation.answers, strict=True))
    answering = [d for d, said in theirs.answers.items() if said != answers[d]]
    if answering and others.batch_size > 1:
        # In a batch the hf model may go on after a row's end, and rounds otherwise: it is asked one by one.
        screen.note(
            f"{suite}: {len(answering)} answers differ; lm-eval is asked for these one by one"
        )
        alone = theirs_of(1, answering)
        theirs = replace(
            theirs,
            per_document=theirs.per_document | alone.per_document,
            answers=theirs.answers | alone.answers,
        )
        answering = [d for d in answering if alone.answers[d] != answers[d]]
    seconds = time.perf_counter() - start
    values = {d: scores.scale.turn(v) for d, v in zip(scores.documents, scores.values, strict=True)}
    sizes = {t: sum(d.task == t for d in documents.search) for t in theirs.aggregates}
    weighed = sum(theirs.aggregates[t] * n for t, n in sizes.items()) / sum(sizes.values())
    return Parity(
        suite=scores.suite,
        metric=scores.metric,
        model=judged.told,
        count=scores.count,
        ours=scores.scale.turn(scores.mean),
        theirs=weighed,
        differing=tuple(d for d, v in values.items() if not _agree(v, theirs.per_document.get(d))),
        answering=tuple(answering),
        generates=bool(theirs.answers),
        our_seconds=judged.seconds,
        their_seconds=seconds,
        as_hf=_as_hf(judged, others.hf, values, answers),
    )


def _as_hf(
    judged: _Judged, hf: Any, values: Mapping[str, float], answers: Mapping[str, str]
) -> int | None:
    """Of how many documents the answer is that of lm-eval's `hf` model; without answers, the value."""
    if hf is None:
        return None
    other = lm_eval_scores(judged.documents, "search", hf, judged.judge.chat)
    if other.answers:
        return sum(said == answers[d] for d, said in other.answers.items())
    return sum(_agree(values[d], v) for d, v in other.per_document.items())


def table(found: Sequence[Parity]) -> str:
    """The comparison as a Markdown table, below a line that names the model."""
    lines = [
        f"Model: {found[0].model}",
        "",
        "| suite | metric | documents | ours | lm-eval | equal | seconds, ours | seconds, lm-eval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for parity in found:
        what = "answers and scores" if parity.generates else "scores"
        lines.append(
            f"| {parity.suite} | {parity.metric} | {parity.count} | {parity.ours:.4f} | "
            f"{parity.theirs:.4f} | {parity.same} of {parity.count} ({what}) | "
            f"{parity.our_seconds:.1f} | {parity.their_seconds:.1f} |"
        )
    lines += [
        f"{p.suite}: {p.as_hf} of {p.count} {'answers' if p.generates else 'scores'} are those of lm-eval's "
        f"`hf` model."
        for p in found
        if p.as_hf is not None
    ]
    return "\n".join(lines)


def differences(parity: Parity) -> list[str]:
    """A line for each kind of difference of a suite."""
    kinds = (("scores differ", parity.differing), ("answers differ", parity.answering))
    lines = [
        f"{parity.suite}: {what} on {len(documents)} documents: {', '.join(documents[:5])}"
        for what, documents in kinds
        if documents
    ]
    if not lines and not parity.equal:
        lines.append(f"{parity.suite}: the means differ: {parity.ours} and {parity.theirs}")
    return lines
