"""The judge: lm-eval's own task, prompts, filters and metric on the documents we chose.

This is the only module that imports lm_eval. A `Judge` builds every context once; scoring a
candidate then costs the model's work, lm-eval's filters and its metric.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import datasets
import lm_eval.tasks
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from exme.tasks.documents import Document, SuiteDocuments
from exme.tasks.errors import UserError, did_you_mean
from exme.tasks.suite import Suite

from .fast.reference import Generation
from .sandbox.code_eval import CodeEval
from .scores import DocumentScores


class Engine(Protocol):
    """What the judge asks of a model; lm-eval's model interface, reduced to what suites use."""

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Greedy continuation of each request's context, cut before its first stop string."""
        ...

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Log-likelihood (nats) of each request's continuation, and whether it is the greedy one."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """One candidate's scores and what it answered.

    Attributes:
        scores: per-document scores.
        answers: the raw generated text per document, in the order of ``scores.documents``; empty
            strings for suites that compare log-likelihoods.
        engine_seconds: wall time that the engine itself took.
    """

    scores: DocumentScores
    answers: tuple[str, ...]
    engine_seconds: float


class Judge:
    """Scores engines on one split of one suite.

    Args:
        documents: the suite's documents.
        split: ``search`` or ``report``.

    Raises:
        UserError: lm-eval has no such task, or a package that the task needs is missing.
    """

    def __init__(self, documents: SuiteDocuments, split: str) -> None:
        self.suite = documents.suite
        self.split = split
        self.seed = documents.seed
        self.documents = documents.of(split)
        manager = _task_manager(self.suite)
        self._tasks: dict[str, Any] = {}
        self._requests: list[list[Instance]] = [[] for _ in self.documents]
        for name in self.suite.lm_eval_tasks:
            mine = [i for i, d in enumerate(self.documents) if d.task == name]
            if mine:
                rows = [self.documents[i] for i in mine]
                task = _build_task(manager, documents.suite, name, rows, documents.fewshot[name])
                task.set_fewshot_seed(seed=documents.seed)
                self._build_requests(task, mine)
                self._tasks[name] = task

    def _build_requests(self, task: Any, positions: Sequence[int]) -> None:
        """Build lm-eval's requests for one of its tasks, and sort them by our documents."""
        # lm-eval draws a progress bar here that no argument turns off.
        with _quiet(), contextlib.redirect_stderr(io.StringIO()):
            task.build_all_requests()
        if len(task.eval_docs) != len(positions):
            raise UserError(
                f"suite '{self.suite.suite}': lm-eval task '{task.config.task}' drops documents "
                f"({len(task.eval_docs)} of {len(positions)} are left); it cannot be used"
            )
        for instance in task.instances:
            if self.suite.max_gen_toks is not None and instance.request_type == "generate_until":
                context, settings = instance.args
                limit = {"max_gen_toks": self.suite.max_gen_toks}
                instance.arguments = (context, {**settings, **limit})
            self._requests[positions[instance.doc_id]].append(instance)

    @property
    def metric(self) -> str:
        """Metric and filter as lm-eval's results file writes them."""
        return self.suite.metric_name

    @property
    def prompts(self) -> list[str]:
        """The context of every document's first request, in the order of the documents."""
        return [str(requests[0].args[0]) for requests in self._requests]

    def score(self, engine: Engine) -> Evaluation:
        """Evaluate the engine on all documents, in one go.

        Raises:
            ValueError: a document's score is not finite.
        """
        instances = [instance for requests in self._requests for instance in requests]
        for instance in instances:
            instance.resps = []
            instance.filtered_resps = {}
        start = time.perf_counter()
        for instance, response in _respond(engine, instances):
            instance.resps.append(response)
        engine_seconds = time.perf_counter() - start
        with _quiet():
            for task in self._tasks.values():
                task.apply_filters()
        return self._collect(engine_seconds)

    def probe(self, engine: Engine, count: int) -> float:
        """Seconds per document, measured on the first `count` documents; keeps nothing."""
        head = self._requests[:count]
        start = time.perf_counter()
        _respond(engine, [instance for requests in head for instance in requests])
        return (time.perf_counter() - start) / len(head)

    def _collect(self, engine_seconds: float) -> Evaluation:
        values, answers, empty, unextracted = [], [], [], []
        for document, requests in zip(self.documents, self._requests, strict=True):
            filtered = [request.filtered_resps[self.suite.filter] for request in requests]
            # The request's document, not ours: a task may have processed it.
            metrics = self._tasks[document.task].process_results(requests[0].doc, filtered)
            values.append(float(metrics[self.suite.metric]))
            generated = requests[0].request_type == "generate_until"
            answer = str(requests[0].resps[0]) if generated else ""
            answers.append(answer)
            empty.append(float(generated and not answer.strip()))
            # lm-eval's regex filters write this fallback where they find no answer.
            unextracted.append(float(filtered[0] == "[invalid]"))
        scores = DocumentScores(
            suite=self.suite.suite,
            split=self.split,
            metric=self.metric,
            documents=tuple(d.id for d in self.documents),
            values=tuple(values),
            seed=self.seed,
            audit={"empty": tuple(empty), "unextracted": tuple(unextracted)},
        )
        return Evaluation(scores, tuple(answers), engine_seconds)


def _respond(engine: Engine, instances: Sequence[Instance]) -> list[tuple[Instance, Any]]:
    """Every request with its response; each kind of request goes to the engine in one call."""
    by_type: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_type[instance.request_type].extend([instance] * (instance.repeats or 1))
    found: list[tuple[Instance, Any]] = []
    for request_type, requests in by_type.items():
        found += zip(requests, getattr(engine, request_type)(requests), strict=True)
    return found


class StockEngine(HFLM):  # type: ignore[misc]  # lm_eval is not typed
    """lm-eval's `hf` model over a resident model, with its tokenisation remembered.

    The prompts of a study never change, so each is tokenised at its first use only; everything
    else is lm-eval's own code.

    Args:
        model: the resident model; its weights may be replaced between evaluations.
        tokenizer: the base's tokenizer.
        batch_size: rows per batch.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> None:
        with _quiet():
            super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        self._encoded: dict[tuple[Any, ...], list[int]] = {}
        self._batches: dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]] = {}

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """See `Engine.generate_until`."""
        with _quiet():
            answers: list[str] = super().generate_until(requests, disable_tqdm=disable_tqdm)
        return answers

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """See `Engine.loglikelihood`."""
        with _quiet():
            found: list[tuple[float, bool]] = super().loglikelihood(
                requests, disable_tqdm=disable_tqdm
            )
        return found

    def tok_encode(self, string: str, *args: Any, **kwargs: Any) -> list[int]:
        """Token ids of a string, tokenised at its first use."""
        key = (string, args, tuple(sorted(kwargs.items())))
        if key not in self._encoded:
            self._encoded[key] = super().tok_encode(string, *args, **kwargs)
        return list(self._encoded[key])

    def tok_batch_encode(
        self, strings: Sequence[str], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded ids and attention mask of a batch, tokenised at its first use."""
        key = (tuple(strings), args, tuple(sorted(kwargs.items())))
        if key not in self._batches:
            self._batches[key] = super().tok_batch_encode(list(strings), *args, **kwargs)
        return self._batches[key]

    # What the fast engine asks of its reference (fast/reference.py).

    def why_not_plain(self) -> str | None:
        """See `Reference.why_not_plain`."""
        if self.backend != "causal":
            return f"it is a {self.backend} model"
        if self.think_end_token is not None or self.mixed_precision_dtype is not None:
            return "lm-eval is told to cut its thoughts, or to compute in mixed precision"
        return None

    def generation(self, settings: Mapping[str, Any]) -> Generation:
        """See `Reference.generation`."""
        with _quiet():
            others: dict[str, Any] = dict(normalize_gen_kwargs(dict(settings), self.max_gen_toks))
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        until = handle_stop_sequences(others.pop("until"), eos=eos)
        return Generation(tuple(until), others.pop("max_gen_toks"), others)

    def encode_prompt(self, context: str, max_tokens: int) -> list[int]:
        """See `Reference.encode_prompt`."""
        with _quiet():
            ids, _ = super().tok_batch_encode(
                [context], left_truncate_len=max_tokens, truncation=self.truncation
            )
        found: list[int] = ids[0].tolist()
        return found

    def encode_choice(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """See `Reference.encode_choice`."""
        if context:
            pair: tuple[list[int], list[int]] = self._encode_pair(context, continuation)
            return pair
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens[:1] == [self.prefix_token_id]:
            return tokens[:1], tokens[1:]
        return [self.prefix_token_id], tokens

    def finish(self, tokens: Sequence[int], until: Sequence[str]) -> str:
        """See `Reference.finish`."""
        text = self.tok_decode(list(tokens))
        return str(postprocess_generated_text(text, list(until), think_end_token=None))


def _build_task(
    manager: Any, suite: Suite, name: str, rows: Sequence[Document], examples: Sequence[Document]
) -> Any:
    """lm-eval's task with our documents in the place of its data set."""

    def dataset(**_: object) -> dict[str, datasets.Dataset]:
        return {"evaluated": _rows(rows), "fewshot": _rows(examples)}

    overrides: dict[str, Any] = {
        "task": name,
        "custom_dataset": dataset,
        "training_split": None,
        "validation_split": None,
        "test_split": "evaluated",
    }
    if suite.fewshot.split is None:  # the task's own examples, if it has any
        overrides["fewshot_split"] = None
    else:
        overrides["fewshot_split"] = "fewshot" if examples else None
        overrides["num_fewshot"] = len(examples)
        overrides["fewshot_config"] = {"sampler": "first_n"}
    try:
        with _quiet(), _code_in_sandbox(suite):
            # A group of one: only a group's members are laid over the stock task of their name.
            group = {"group": "exme", "task": [overrides]}
            return manager.load([group])["tasks"][name]
    except ImportError as error:
        needs = " and ".join(suite.needs) or "a package that lm-eval names"
        raise UserError(
            f"suite '{suite.suite}': lm-eval task '{name}' needs {needs} ({error.msg}); install it"
        ) from None


@contextlib.contextmanager
def _code_in_sandbox(suite: Suite) -> Iterator[None]:
    """Give lm-eval tasks that run generated code our sandbox, where they ask for `code_eval`.

    They fetch it from the hub as they are loaded, and keep it.
    """
    if not suite.runs_code:
        yield
        return
    import evaluate  # noqa: PLC0415  (slow to import, needed for generated code only)

    stock = evaluate.load
    evaluate.load = lambda name, **_: CodeEval() if name == "code_eval" else stock(name)
    try:
        yield
    finally:
        evaluate.load = stock


def _rows(documents: Sequence[Document]) -> datasets.Dataset:
    return datasets.Dataset.from_list([dict(d.row) for d in documents])


def _task_manager(suite: Suite) -> Any:
    """An index of lm-eval's tasks that holds the suite's.

    Indexing all of lm-eval's 14,000 files takes seconds, a folder of its own milliseconds.
    """
    names = list(suite.lm_eval_tasks)
    root = Path(lm_eval.tasks.__file__).parent
    for folder in dict.fromkeys(root / n for n in (suite.folder, suite.suite, names[0]) if n):
        if folder.is_dir():
            manager = lm_eval.tasks.TaskManager(include_defaults=False, include_path=str(folder))
            if set(names) <= set(manager.all_subtasks):
                return manager
    manager = lm_eval.tasks.TaskManager()
    missing = [name for name in names if name not in manager.all_subtasks]
    if missing:
        raise UserError(
            f"suite '{suite.suite}': lm-eval has no task '{missing[0]}'"
            f"{did_you_mean(missing[0], manager.all_subtasks)}"
        )
    return manager


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back lm-eval's and transformers' chatter; errors are exceptions and still show."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "transformers", "datasets")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
