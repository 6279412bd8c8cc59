"""The judge: lm-eval's own task, prompts, filters and metric on the documents we chose.

A `Judge` builds every context once; scoring a candidate then costs the model's work, lm-eval's filters
and its metric.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance

from exme.evaluators import TARGET_NLL, DocumentScores, Scale
from exme.tasks import SuiteDocuments, UserError

from .generation import check_settings
from .interface import PLAIN, Chat, Engine, Evaluation, answer_limit, is_cut, responses
from .noise import quiet
from .tasks.metrics import (
    agreed,
    apply_filters,
    check_metric,
    higher_is_better,
    metric_of,
    try_documents,
    try_metric,
)
from .tasks.splits import lm_eval_seeds
from .tasks.targets import NoReference, target_request
from .tasks.task import build_task, task_manager


class Judge:
    """Scores engines on one split of one suite.

    Args:
        split: ``search`` or ``report``.

    Raises:
        UserError: lm-eval has no such task, or a package that the task needs is missing.
    """

    def __init__(self, documents: SuiteDocuments, split: str, chat: Chat = PLAIN) -> None:
        self.suite = documents.suite
        self.split = split
        self.seed = documents.seed
        self.documents = documents.of(split)
        self.chat = chat
        self.higher_is_better = True
        self._tasks: dict[str, Any] = {}
        self._requests: list[list[Instance]] = [[] for _ in self.documents]
        self._targets: list[Instance | None] = []
        manager = task_manager(self.suite)
        for name in self.suite.lm_eval_tasks:
            mine = [i for i, d in enumerate(self.documents) if d.task == name]
            if mine:
                self._tasks[name] = self._build(manager, name, mine, documents)
        directions = {name: higher_is_better(self.suite, t) for name, t in self._tasks.items()}
        self.higher_is_better = agreed(self.suite, directions)

    def _build(
        self, manager: Any, name: str, positions: Sequence[int], documents: SuiteDocuments
    ) -> Any:
        """One of the suite's lm-eval tasks, with its requests."""
        mine = [self.documents[i] for i in positions]
        try:
            built = build_task(manager, documents, name, mine)
            task = built.task
            check_metric(self.suite, task)
            task.set_fewshot_seed(seed=self.seed)
            built.judge(mine)
            self._build_requests(task, positions)
            try_metric(self.suite, task, self._requests[positions[0]])
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  (a task's templates and functions may raise any)
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UserError(
                f"suite '{self.suite.suite}': lm-eval task '{name}' makes no prompts of these "
                f"documents ({reason}); see docs/suites.md for what it reads"
            ) from None
        return task

    def _build_requests(self, task: Any, positions: Sequence[int]) -> None:
        """Build lm-eval's requests for one of its tasks, and sort them by our documents."""
        # lm-eval draws a progress bar here that no argument turns off.
        with quiet(), lm_eval_seeds(), contextlib.redirect_stderr(io.StringIO()):
            task.build_all_requests(
                system_instruction=self.chat.system,
                apply_chat_template=self.chat.apply is not None,
                fewshot_as_multiturn=self.chat.apply is not None and self.chat.multiturn,
                chat_template=self.chat.apply,
            )
        checked: list[dict[str, Any]] = []
        for instance in task.instances:
            if instance.request_type == "generate_until":
                context, settings = instance.args
                if self.suite.max_gen_toks is not None:
                    settings = {**settings, "max_gen_toks": self.suite.max_gen_toks}
                    instance.arguments = (context, settings)
                if settings not in checked:
                    check_settings(settings, f"suite '{self.suite.suite}'")
                    checked.append(settings)
            self._requests[positions[instance.doc_id]].append(instance)

    def try_documents(self) -> None:
        """Refuse documents that cannot be scored whatever is answered, with a UserError."""
        for name, task in self._tasks.items():
            pairs = zip(self.documents, self._requests, strict=True)
            try_documents(self.suite, task, {d.id: asked for d, asked in pairs if d.task == name})

    @property
    def metric(self) -> str:
        """Metric and filter as lm-eval's results file writes them."""
        return self.suite.metric_name

    @property
    def requests(self) -> Sequence[Sequence[Instance]]:
        """lm-eval's requests of every document, in the order of the documents."""
        return self._requests

    @property
    def prompts(self) -> list[str]:
        """The context of every document's first request, in the order of the documents."""
        return [str(requests[0].args[0]) for requests in self._requests]

    @property
    def questions(self) -> list[str]:
        """The text of every document by itself, without examples, in the order of the documents."""
        pairs = zip(self.documents, self._requests, strict=True)
        return [str(self._tasks[d.task].doc_to_text(r[0].doc)).strip() for d, r in pairs]

    @property
    def references(self) -> list[tuple[str, str]]:
        """Context and reference answer of every document, in the order of the documents.

        Raises:
            UserError: the suite's documents have no reference answers.
        """
        requests = [r for r in self._target_requests() if r is not None]
        if len(requests) < len(self.documents):
            raise NoReference(
                f"suite '{self.suite.suite}': some documents have no reference answer"
            )
        return [(str(r.args[0]), str(r.args[1])) for r in requests]

    @property
    def has_references(self) -> bool:
        """Whether there is a reference answer that `score_targets` could measure."""
        try:
            return bool(self._target_requests())
        except NoReference:
            return False

    @property
    def longest_answer(self) -> int:
        """Most tokens that a request of this suite may generate; 0 where none generates."""
        kinds = (r for requests in self._requests for r in requests[:1])
        return max(
            (answer_limit(r) for r in kinds if r.request_type == "generate_until"), default=0
        )

    def score(self, engine: Engine, chosen: Sequence[int] | None = None) -> Evaluation:
        """Evaluate the engine in one go, by the suite's metric.

        Args:
            chosen: positions of the documents to score, in the order of the result; each at most
                once. All by default. A document's outcome does not depend on the others.

        Raises:
            ValueError: a filter or the metric raised, or a document's score is not finite.
        """
        places = self._places(chosen)
        instances = [instance for place in places for instance in self._requests[place]]
        for instance in instances:
            instance.resps = []
            instance.filtered_resps = {}
        with quiet():
            start = time.perf_counter()
            for instance, response in responses(engine, instances):
                instance.resps.append(response)
            engine_seconds = time.perf_counter() - start
            for name, task in self._tasks.items():
                of_task = [
                    instance
                    for place in places
                    if self.documents[place].task == name
                    for instance in self._requests[place]
                ]
                if of_task:
                    apply_filters(self.suite, task, of_task)
        return self._collect(engine, engine_seconds, places)

    def _places(self, chosen: Sequence[int] | None) -> Sequence[int]:
        return range(len(self.documents)) if chosen is None else chosen

    def score_targets(self, engine: Engine, chosen: Sequence[int] | None = None) -> Evaluation:
        """Evaluate the engine by `target_nll`, of which less is better.

        Nothing is generated. It is a proxy: see docs/suites.md. In a suite with `references_from_inputs`, a
        document without a reference answer counts 0 for every model.

        Args:
            chosen: as for `score`.

        Raises:
            UserError: the suite's documents have no reference answers.
            ValueError: a document's score is not finite.
        """
        places = self._places(chosen)
        all_requests = self._target_requests()
        asked = [request for place in places if (request := all_requests[place]) is not None]
        start = time.perf_counter()
        with quiet():
            found = engine.loglikelihood(asked)
        engine_seconds = time.perf_counter() - start
        by_byte = {
            id(request): -float(likelihood) / len(request.args[1].encode())
            for request, (likelihood, _) in zip(asked, found, strict=True)
        }
        values = tuple(by_byte.get(id(all_requests[place]), 0.0) for place in places)
        scores = self._scores(TARGET_NLL, places, values, {}, higher_is_better=False)
        return Evaluation(scores, ("",) * len(values), engine_seconds)

    def _target_requests(self) -> list[Instance | None]:
        """One for every document; None where it has no reference answer and others have."""
        if not self._targets:
            found: list[Instance | None] = []
            lacking: NoReference | None = None
            for document, requests in zip(self.documents, self._requests, strict=True):
                task, plain = self._tasks[document.task], self.chat.apply is None
                try:
                    found.append(target_request(self.suite, task, requests, plain))
                except NoReference as error:
                    if not self.suite.references_from_inputs:
                        raise
                    found.append(None)
                    lacking = error
            if lacking is not None and not any(found):
                raise lacking
            self._targets = found
        return self._targets

    def _collect(self, engine: Engine, engine_seconds: float, places: Sequence[int]) -> Evaluation:
        values, answers, empty, unextracted, cut = [], [], [], [], []
        for place in places:
            document, requests = self.documents[place], self._requests[place]
            filtered = [request.filtered_resps[self.suite.filter] for request in requests]
            task = self._tasks[document.task]
            values.append(metric_of(self.suite, task, requests[0].doc, filtered, document.id))
            generated = requests[0].request_type == "generate_until"
            answer = str(requests[0].resps[0]) if generated else ""
            answers.append(answer)
            empty.append(float(generated and not answer.strip()))
            # lm-eval's regex filters write this fallback where they find no answer.
            unextracted.append(float(filtered[0] == "[invalid]"))
            cut.append(float(generated and is_cut(engine, requests[0], answer)))
        audit = {"empty": tuple(empty), "unextracted": tuple(unextracted), "cut": tuple(cut)}
        scores = self._scores(self.metric, places, tuple(values), audit, self.higher_is_better)
        return Evaluation(scores, tuple(answers), engine_seconds)

    def _scores(
        self,
        metric: str,
        places: Sequence[int],
        values: tuple[float, ...],
        audit: dict[str, tuple[float, ...]],
        higher_is_better: bool,
    ) -> DocumentScores:
        """Scores of values as lm-eval gives them: the one place where these become each other."""
        scale = Scale.of(metric, higher_is_better)
        return DocumentScores(
            suite=self.suite.suite,
            split=self.split,
            metric=metric,
            documents=tuple(self.documents[place].id for place in places),
            values=tuple(scale.turn(value) for value in values),
            seed=self.seed,
            audit=audit,
            higher_is_better=higher_is_better,
        )


def settle(documents: SuiteDocuments) -> SuiteDocuments:
    """The same, once lm-eval's tasks have made prompts of them all: the suite then knows its direction.

    Raises:
        UserError: the suite's metric, examples or generation settings cannot be used, or a task cannot score its documents.
    """
    ways = set()
    for judge in [Judge(documents, split) for split in ("search", "report")]:
        judge.try_documents()
        ways.add(judge.higher_is_better)
    suite = documents.suite.model_copy(update={"higher_is_better": ways == {True}})
    return replace(documents, suite=suite)
