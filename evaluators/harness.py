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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import datasets
import lm_eval.tasks
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from exme.tasks.documents import Document, SuiteDocuments
from exme.tasks.errors import UserError

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
    """

    def __init__(self, documents: SuiteDocuments, split: str) -> None:
        self.suite = documents.suite
        self.split = split
        self.seed = documents.seed
        self.documents = documents.of(split)
        self.task = _build_task(documents, split)
        # lm-eval draws a progress bar here that no argument turns off.
        with _quiet(), contextlib.redirect_stderr(io.StringIO()):
            self.task.build_all_requests()
        self._by_document: dict[int, list[Instance]] = defaultdict(list)
        for instance in self.task.instances:
            self._by_document[instance.doc_id].append(instance)
        for instances in self._by_document.values():
            instances.sort(key=lambda instance: instance.idx)

    @property
    def metric(self) -> str:
        """Metric and filter as lm-eval's results file writes them."""
        return self.suite.metric_name

    def score(self, engine: Engine) -> Evaluation:
        """Evaluate the engine on all documents, in one go.

        Raises:
            ValueError: a document's score is not finite.
        """
        instances: list[Instance] = self.task.instances
        for instance in instances:
            instance.resps = []
            instance.filtered_resps = {}
        by_type: dict[str, list[Instance]] = defaultdict(list)
        for instance in instances:
            by_type[instance.request_type].extend([instance] * (instance.repeats or 1))
        engine_seconds = 0.0
        for request_type, requests in by_type.items():
            start = time.perf_counter()
            responses = getattr(engine, request_type)(requests)
            engine_seconds += time.perf_counter() - start
            for instance, response in zip(requests, responses, strict=True):
                instance.resps.append(response)
        with _quiet():
            self.task.apply_filters()
        return self._collect(engine_seconds)

    def probe(self, engine: Engine, count: int) -> float:
        """Seconds per document, measured on the first `count` documents; keeps nothing."""
        count = min(count, len(self.documents))
        by_type: dict[str, list[Instance]] = defaultdict(list)
        for position in range(count):
            for instance in self._by_document[position]:
                by_type[instance.request_type].append(instance)
        start = time.perf_counter()
        for request_type, requests in by_type.items():
            getattr(engine, request_type)(requests)
        return (time.perf_counter() - start) / count

    def _collect(self, engine_seconds: float) -> Evaluation:
        values, answers, empty, unextracted = [], [], [], []
        for position, document in enumerate(self.documents):
            requests = self._by_document[position]
            filtered = [request.filtered_resps[self.suite.filter] for request in requests]
            metrics = self.task.process_results(document.row, filtered)
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

    def generate_until(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[str]:
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


def _build_task(documents: SuiteDocuments, split: str) -> Any:
    """lm-eval's task with our documents in the place of its data set."""
    suite = documents.suite

    def dataset(**_: object) -> dict[str, datasets.Dataset]:
        return {"evaluated": _rows(documents.of(split)), "fewshot": _rows(documents.fewshot)}

    overrides = {
        "task": suite.lm_eval_task,
        "custom_dataset": dataset,
        "training_split": None,
        "validation_split": None,
        "test_split": "evaluated",
        "fewshot_split": "fewshot" if documents.fewshot else None,
        "num_fewshot": len(documents.fewshot),
        "fewshot_config": {"sampler": "first_n"},
    }
    with _quiet():
        manager = _task_manager(suite.lm_eval_task)
        if suite.lm_eval_task not in manager.all_subtasks:
            raise UserError(
                f"suite '{suite.suite}': lm-eval has no task '{suite.lm_eval_task}'; "
                f"`lm_eval ls tasks` lists those it has"
            )
        # A group of one: only a group's members are laid over the stock task of their name.
        group = {"group": "exme", "task": [overrides]}
        task = manager.load([group])["tasks"][suite.lm_eval_task]
        task.set_fewshot_seed(seed=documents.seed)
    return task


def _rows(documents: Sequence[Document]) -> datasets.Dataset:
    return datasets.Dataset.from_list([dict(d.row) for d in documents])


def _task_manager(task: str) -> Any:
    """An index of lm-eval's tasks that holds `task`.

    Indexing all of lm-eval's 14,000 files takes seconds, its own folder milliseconds.
    """
    folder = Path(lm_eval.tasks.__file__).parent / task
    if folder.is_dir():
        manager = lm_eval.tasks.TaskManager(include_defaults=False, include_path=str(folder))
        if task in manager.all_subtasks:
            return manager
    return lm_eval.tasks.TaskManager()


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
