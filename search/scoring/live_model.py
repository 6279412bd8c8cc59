"""What a worker scores with: a model that candidates are written into, and that answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from exme.evaluators.fast import DraftStore, FastEngine
from exme.evaluators.harness import Engine, FiniteLogits, Judge, StockEngine
from exme.search.merging import SPREAD, Candidate, ResidentModel
from exme.search.merging.sources import Sources
from exme.search.study import StudyFile, measure_of_ones_own
from exme.tasks import UserError

from .precision import Precision


class LiveModel(Protocol):
    """A model that holds one candidate at a time.

    Attributes:
        engine: answers the judge's requests with what the model holds.
        engine_name: as the report names it.
        tokenizer: of all candidates.
        max_length: most tokens of a prompt and its answer.
        apply_chat_template: lm-eval's, by the tokenizer's template.
        told: what people are to know of it before the first trial, a line each.
        reference: lm-eval's model class that asks.
        rows: of the model's embedding.
    """

    engine: Engine
    reference: Any
    rows: int
    engine_name: str
    tokenizer: Any
    max_length: int
    apply_chat_template: Callable[..., str]
    told: Sequence[str]

    def take_in(self, candidate: Candidate) -> None:
        """Hold a candidate.

        Raises:
            FloatingPointError: a weight is not finite.
        """
        ...

    def begin(self) -> None:
        """Forget what logits were seen."""
        ...

    def check(self) -> None:
        """Refuse logits that were not finite since `begin`, with a FloatingPointError."""
        ...

    def probe(self, judges: Sequence[Judge]) -> None:
        """Refuse to go on with an engine that does not compute what the model says, or would cut what is asked.

        Raises:
            UserError: says what to change.
        """
        ...

    def check_room(self, judges: Sequence[Judge]) -> Sequence[str]:
        """Refuse documents that the engine would cut and the model would not.

        Returns:
            What people are to know of others that are cut.

        Raises:
            UserError: says what to change.
        """
        ...

    def close(self) -> None:
        """Give back what it holds beyond this process."""
        ...


class LocalModel:
    """A model in this process, with lm-eval's own engine or the fast one.

    Args:
        drafts: file of earlier candidates' answers, for the fast engine; None keeps none.

    Raises:
        UserError: the study asks for the fast engine, and the device is not a CPU.
    """

    def __init__(
        self, study: StudyFile, sources: Sources, precision: Precision, drafts: Path | None
    ) -> None:
        if study.engine == "fast" and torch.device(precision.device).type != "cpu":
            raise UserError(
                f"engine: fast is for CPUs, and the device is {precision.device}; use `engine: auto` or `stock`"
            )
        self.resident = resident_model(study, sources, precision, study.residence)
        self.tokenizer = self.resident.tokenizer
        self.stock = StockEngine(self.resident.model, self.tokenizer, study.batch_size)
        self.engine: Engine = self.stock
        self.engine_name = "stock"
        self.reference = self.stock
        embedding: Any = self.resident.model.get_input_embeddings()
        self.rows = int(embedding.weight.shape[0])
        self.max_length: int = self.stock.max_length
        self.apply_chat_template: Callable[..., str] = self.stock.apply_chat_template
        self.told: Sequence[str] = ()
        self._logits = FiniteLogits(self.resident.model)
        if study.engine != "stock" and not measure_of_ones_own(study.measure):
            fast = FastEngine(self.stock, DraftStore(drafts))
            self.engine = fast
            self.engine_name = f"stock ({fast.fallback})" if fast.fallback else "fast"

    def take_in(self, candidate: Candidate) -> None:
        """See `LiveModel.take_in`."""
        self.resident.materialise(candidate)
        if self.resident.device.type == "cuda":
            torch.cuda.synchronize(self.resident.device)

    def begin(self) -> None:
        """See `LiveModel.begin`."""
        self._logits.begin()

    def check(self) -> None:
        """See `LiveModel.check`."""
        self._logits.check()

    def probe(self, judges: Sequence[Judge]) -> None:
        """Nothing: lm-eval's own model answers, and the fast engine probes itself."""

    def check_room(self, judges: Sequence[Judge]) -> Sequence[str]:
        """Nothing: both engines take what lm-eval's own model takes."""
        return ()

    def close(self) -> None:
        """Nothing: it goes with the process."""


def resident_model(
    study: StudyFile, sources: Sources, precision: Precision, residence: str
) -> ResidentModel:
    """A live model as a study has it.

    Args:
        residence: where the sources are kept.
    """
    return ResidentModel(
        sources,
        dtype=getattr(torch, precision.dtype),
        compute_dtype=getattr(torch, precision.compute),
        device=torch.device(precision.device),
        trust_remote_code=study.trust_remote_code,
        residence=residence,
        over_all=study.device == SPREAD,
    )
