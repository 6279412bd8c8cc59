"""A worker: candidates in, scores out, on one device."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from exme.evaluators import Scores, join
from exme.evaluators.harness import (
    Chat,
    Engine,
    Evaluation,
    Judge,
    StockEngine,
    check_prompts,
    longest_requests,
)
from exme.search.merging import Candidate, ResidentModel
from exme.search.merging.sources import Sources
from exme.search.study import StudyFile
from exme.tasks import SuiteDocuments, UserError

from .live_model import LiveModel, LocalModel
from .measure import load_measure
from .precision import Precision
from .probing import DocumentTime, drafts_answers, seconds_per_document


@dataclass(frozen=True)
class Scored:
    """A candidate's scores, and what they took.

    Attributes:
        scores: on one or several suites.
        seconds: wall time by work: ``materialise``, ``model``, ``judge``.
        proxy: minus target_nll on the report documents, where the study searches by that.
        answers: generated text by suite, in the order of its documents.
    """

    scores: Scores
    seconds: Mapping[str, float]
    proxy: Scores | None = None
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)


def chat_of(study: StudyFile, tokenizer: Any, render: Callable[..., str]) -> Chat:
    """How a study puts its prompts.

    Args:
        render: makes one prompt of messages: `apply_chat_template` of lm-eval's model classes.

    Raises:
        UserError: it asks for a chat template that the base's tokenizer lacks.
    """
    wanted = study.chat
    if wanted.apply_chat_template and not tokenizer.chat_template:
        raise UserError(
            f"chat: apply_chat_template: the tokenizer of base '{study.base}' has no chat "
            f"template; leave it out, or give the base a tokenizer that has one"
        )
    apply = render if wanted.apply_chat_template else None
    return Chat(apply, wanted.system_instruction, wanted.fewshot_as_multiturn)


class Scorer(Protocol):
    """What a search asks of a worker; tests and soaks put landscapes in its place."""

    def score(self, candidate: Candidate, split: str) -> Scored:
        """Scores of a candidate on the documents of ``search`` or ``report``."""
        ...

    def score_part(self, candidate: Candidate, documents: Sequence[int]) -> Scored:
        """Scores of a candidate on some of the search documents.

        Args:
            candidate: the same as at the last call, as a rule.
            documents: positions among the documents of all suites, in the study's order.
        """
        ...

    def score_longer(self, candidate: Candidate) -> Scored | None:
        """Scores on the report documents when answers may be twice as long; None where they cannot be."""
        ...

    def document_time(self) -> DocumentTime:
        """What a search document takes, as measured now."""
        ...


class Worker:
    """Has its live model hold candidates, and has them judged.

    Args:
        drafts: file of earlier candidates' answers; None keeps none.

    Raises:
        UserError: the models cannot be loaded, or the engine does not compute what they say.
    """

    def __init__(
        self,
        study: StudyFile,
        sources: Sources,
        documents: Sequence[SuiteDocuments],
        precision: Precision,
        drafts: Path | None = None,
    ) -> None:
        self.study = study
        self.documents = documents
        self.batch_size = study.batch_size
        if precision.engine == "vllm":
            from .served_model import ServedModel  # noqa: PLC0415  (rarely needed)

            self.live: LiveModel = ServedModel(study, sources, precision, drafts)
        else:
            self.live = LocalModel(study, sources, precision, drafts)
        self.sources = sources
        self.engine: Engine = self.live.engine
        self.engine_name = self.live.engine_name
        self.measure = load_measure(study.measure)
        self._judges: dict[str, list[Judge]] = {}
        self._longer: list[Judge] = []
        self._live = ""  # digest of the candidate that is in the model
        if precision.engine == "vllm":
            self.live.probe([*self.judges("search"), *self.judges("report")])

    def judges(self, split: str) -> list[Judge]:
        """The judges of ``search`` or ``report``, one a suite, built at their first use.

        Raises:
            UserError: the model cannot take a suite's prompts (`check_prompts`), or the study asks for a
                chat template that the base's tokenizer lacks.
        """
        if split not in self._judges:
            chat = chat_of(self.study, self.live.tokenizer, self.live.apply_chat_template)
            self._judges[split] = [Judge(documents, split, chat) for documents in self.documents]
            for judge in self._judges[split]:
                check_prompts(judge, self.live.reference, self.live.rows)
        return self._judges[split]

    def document_time(self) -> DocumentTime:
        """Measured on a few documents of each suite, with the weights that are in the model."""
        if self.measure is not None:
            measure, model, tokenizer = self.measure, self.resident.model, self.live.tokenizer
            took = [measure.seconds_per_document(model, tokenizer, d) for d in self.documents]
            return DocumentTime(sum(took) / len(took))
        by_target, seconds, drafted = self.study.measure == "target_nll", 0.0, 0.0
        for judge in self.judges("search"):
            each = seconds_per_document(judge, self.engine, self.batch_size, targets=by_target)
            seconds += each * len(judge.documents)
            if drafts_answers(self.study, self.engine_name, judge):
                drafted += each * len(judge.documents)
        return DocumentTime(seconds / sum(len(d.search) for d in self.documents), drafted / seconds)

    def score(self, candidate: Candidate, split: str) -> Scored:
        """Materialise and evaluate.

        Raises:
            FloatingPointError: a weight or a logit of the candidate is not finite.
            ValueError: a document's score is not finite, or its metric raised.
            UserError: a checkpoint's file was changed while it is in use.
        """
        return self._evaluate(candidate, split, [None] * len(self.documents))

    def score_part(self, candidate: Candidate, documents: Sequence[int]) -> Scored:
        """See `Scorer.score_part`; the candidate is materialised unless it is in the model.

        Raises:
            FloatingPointError, ValueError: see `score`.
        """
        by_suite: list[Sequence[int] | None] = []
        start = 0
        for found in self.documents:
            end = start + len(found.search)
            by_suite.append([d - start for d in documents if start <= d < end])
            start = end
        return self._evaluate(candidate, "search", by_suite)

    def answer(self, candidate: Candidate, suites: Collection[str]) -> dict[str, Evaluation]:
        """Evaluate on the search documents of some suites by their metrics, whatever the objective.

        Raises:
            FloatingPointError, ValueError: see `score`.
        """
        self.live.begin()
        self.take_in(candidate)
        judges = [j for j in self.judges("search") if j.suite.suite in suites]
        found = {judge.suite.suite: judge.score(self.engine) for judge in judges}
        self.live.check()
        return found

    @property
    def resident(self) -> ResidentModel:
        """The model in this process; there is none where vLLM's workers hold it."""
        assert isinstance(self.live, LocalModel)
        return self.live.resident

    @property
    def stock(self) -> StockEngine:
        """lm-eval's own engine over the model in this process."""
        assert isinstance(self.live, LocalModel)
        return self.live.stock

    def close(self) -> None:
        """End what runs beside this process."""
        self.live.close()

    def take_documents(self, documents: Sequence[SuiteDocuments]) -> None:
        """Judge by these documents from now on."""
        self.documents = documents
        self._judges.clear()

    def score_longer(self, candidate: Candidate) -> Scored | None:
        """See `Scorer.score_longer`; None where the model's context has no room for that.

        Raises:
            FloatingPointError, ValueError: see `score`.
        """
        if not self._longer:
            chat = chat_of(self.study, self.live.tokenizer, self.live.apply_chat_template)
            for judge, suite_of in zip(self.judges("report"), self.documents, strict=True):
                limit = 2 * judge.longest_answer
                if limit >= self.live.max_length:
                    return None
                suite = suite_of.suite.model_copy(update={"max_gen_toks": limit} if limit else {})
                longer = Judge(replace(suite_of, suite=suite), "report", chat)
                if longest_requests(longer, self.live.reference, self.live.max_length):
                    self._longer.clear()
                    return None
                self._longer.append(longer)
        self.live.begin()
        self.take_in(candidate)
        found = [judge.score(self.engine) for judge in self._longer]
        self.live.check()
        seconds = {"model": sum(e.engine_seconds for e in found)}
        return Scored(join([e.scores for e in found]), seconds)

    def take_in(self, candidate: Candidate) -> None:
        """Have a candidate in the model; none is known to be there while it is written."""
        self._live = ""
        self.live.take_in(candidate)
        self._live = candidate.digest

    def _evaluate(
        self, candidate: Candidate, split: str, chosen: Sequence[Sequence[int] | None]
    ) -> Scored:
        start = time.perf_counter()
        self.sources.check_unchanged()
        self.live.begin()
        if chosen[0] is None or self._live != candidate.digest:
            self.take_in(candidate)
        middle = time.perf_counter()
        if self.measure is not None:
            parts = [
                self.measure.score(self.resident.model, self.live.tokenizer, found, split, places)
                for found, places in zip(self.documents, chosen, strict=True)
                if places is None or places
            ]
            took = time.perf_counter() - middle
            return Scored(join(parts), {"materialise": middle - start, "model": took, "judge": 0.0})
        by_target = self.study.measure == "target_nll"
        found, proxies = [], []
        for judge, places in zip(self.judges(split), chosen, strict=True):
            if places is not None and not places:
                continue
            if by_target and (split == "search" or judge.has_references):
                proxies.append(judge.score_targets(self.engine, places))
            if not by_target or split == "report":
                found.append(judge.score(self.engine, places))
        self.live.check()
        end = time.perf_counter()
        model = sum(e.engine_seconds for e in (*found, *proxies))
        return Scored(
            join([e.scores for e in found or proxies]),
            {
                "materialise": middle - start,
                "model": model,
                "judge": end - middle - model,
            },
            proxy=join([e.scores for e in proxies]) if 0 < len(found) == len(proxies) else None,
            answers={e.scores.suite: e.answers for e in found},
        )
