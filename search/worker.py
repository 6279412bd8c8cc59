"""A worker: candidates in, scores out, on one device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.fast.store import DraftStore
from exme.evaluators.harness import Engine, Judge, StockEngine
from exme.evaluators.scores import DocumentScores
from exme.tasks.documents import SuiteDocuments

from .candidate import Candidate
from .resident import ResidentModel, Sources, pick_device
from .study_file import StudyFile


@dataclass(frozen=True)
class Scored:
    """A candidate's scores and the wall time by work: ``materialise``, ``model``, ``judge``."""

    scores: DocumentScores
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Precision:
    """Dtypes and device of a study, as torch names them.

    Attributes:
        dtype: what weights are rounded to and exported in.
        compute: what the model computes in; never narrower than `dtype`, so that what is exported
            is what was scored.
    """

    dtype: str
    compute: str
    device: str


def settle_precision(study: StudyFile, base_dtype: str) -> Precision:
    """Fill in what the study leaves to us.

    Args:
        study: the study file.
        base_dtype: dtype that the base's weights are stored in.
    """
    device = pick_device(study.device)
    dtype: str = base_dtype if study.dtype == "auto" else study.dtype
    compute: str = study.compute_dtype
    if compute == "auto":
        # bfloat16 arithmetic is emulated on most CPUs, and float32 gives the same answers at any
        # batch size.
        compute = "float32" if device.type == "cpu" else dtype
    if getattr(torch, compute).itemsize < getattr(torch, dtype).itemsize:
        dtype = compute
    return Precision(dtype, compute, str(device))


class Scorer(Protocol):
    """What a search asks of a worker; tests and soaks put landscapes in its place."""

    def score(self, candidate: Candidate, split: str) -> Scored:
        """Scores of a candidate on the documents of ``search`` or ``report``."""
        ...

    def seconds_per_document(self) -> float:
        """Measured time that one document takes."""
        ...


class Worker:
    """Materialises candidates in its resident model and has them judged.

    Args:
        study: the study file.
        sources: base and checkpoints.
        documents: the suite's documents.
        precision: dtypes and device.
        drafts: file of earlier candidates' answers, for the fast engine; None keeps none.
    """

    def __init__(
        self,
        study: StudyFile,
        sources: Sources,
        documents: SuiteDocuments,
        precision: Precision,
        drafts: Path | None = None,
    ) -> None:
        self.documents = documents
        self.batch_size = study.batch_size
        self.resident = ResidentModel(
            sources,
            dtype=getattr(torch, precision.dtype),
            compute_dtype=getattr(torch, precision.compute),
            device=torch.device(precision.device),
            trust_remote_code=study.trust_remote_code,
        )
        stock = StockEngine(self.resident.model, self.resident.tokenizer, study.batch_size)
        self.engine: Engine = stock
        self.engine_name = "stock"
        if study.engine == "fast":
            fast = FastEngine(stock, DraftStore(drafts))
            self.engine = fast
            self.engine_name = f"stock ({fast.fallback})" if fast.fallback else "fast"
        self._judges: dict[str, Judge] = {}

    def judge(self, split: str) -> Judge:
        """The judge of ``search`` or ``report``, built at its first use."""
        if split not in self._judges:
            self._judges[split] = Judge(self.documents, split)
        return self._judges[split]

    def seconds_per_document(self) -> float:
        """Measured on one batch of search documents, with the weights that are in the model."""
        judge = self.judge("search")
        judge.probe(self.engine, 1)  # first calls set up what later ones find ready
        return judge.probe(self.engine, self.batch_size)

    def score(self, candidate: Candidate, split: str) -> Scored:
        """Materialise and evaluate.

        Raises:
            FloatingPointError: a weight of the candidate is not finite.
            ValueError: a document's score is not finite.
        """
        start = time.perf_counter()
        self.resident.materialise(candidate)
        if self.resident.device.type == "cuda":
            torch.cuda.synchronize(self.resident.device)
        middle = time.perf_counter()
        evaluation = self.judge(split).score(self.engine)
        end = time.perf_counter()
        return Scored(
            evaluation.scores,
            {
                "materialise": middle - start,
                "model": evaluation.engine_seconds,
                "judge": end - middle - evaluation.engine_seconds,
            },
        )
