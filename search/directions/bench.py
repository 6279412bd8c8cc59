"""Where a direction is computed: sources by tensor, search examples, and one live model.

Memory is bounded by the live model: sources are mapped and read one tensor at a time, a gradient is handed on
and freed as soon as it is there, and what a method keeps for every weight stands in mapped files.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from exme.search.merging import Groups, load_model, load_tokenizer, places
from exme.search.merging.sources import Fetched, Mapped, Sources, on_disk, untied
from exme.tasks import UserError

# Most tokens of an example; a longer prompt loses its beginning. And of a batch, padding included.
LONGEST = 1024
BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Example:
    """A search document as token ids.

    Attributes:
        prompt: at least one token.
        answer: the reference answer's; empty where the method needs none.
        size: of the answer in bytes.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...] = ()
    size: int = 1

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and answer."""
        return self.prompt + self.answer


@dataclass(frozen=True)
class Batch:
    """Examples of like length, padded on the right, which a causal model does not see.

    Attributes:
        examples: b of them.
        ids: shape (b, t), int64.
        mask: shape (b, t): which are tokens, not padding.
    """

    examples: tuple[Example, ...]
    ids: torch.Tensor
    mask: torch.Tensor


Loss = Callable[["Bench", Batch], torch.Tensor]
Take = Callable[[str, torch.Tensor], None]


class Bench:
    """What a direction works with.

    Args:
        compute: dtype in which the model computes; float64 makes everything float64.
        scratch: folder for mapped files, which go with the tensors in them.
        examples: the search documents that the method may use.
        trust_remote_code: run model code that the base brings along.
        bounds: of starting coefficients.
        groups: groups of tensors that have starting coefficients of their own; None has none.
        rows: most examples in a batch.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        compute: torch.dtype,
        device: torch.device,
        scratch: Path,
        examples: Sequence[Example] = (),
        trust_remote_code: bool = False,
        bounds: tuple[float, float] = (0.0, 1.6),
        groups: Groups | None = None,
        rows: int = 8,
    ) -> None:
        self.sources, self.device, self.scratch = sources, device, scratch
        self.examples, self.bounds, self.groups, self.rows = examples, bounds, groups, rows
        self.names = tuple(sources.checkpoints)
        self.real = torch.float64 if compute == torch.float64 else torch.float32
        self._compute, self._trust = compute, trust_remote_code
        specs = sorted(untied(sources.base).items())
        self.shapes = {name: spec.shape for name, spec in specs if spec.is_float}
        self.tensors = tuple(self.shapes)
        self._mapped = Mapped(sources)
        self.passes = 0

    # The sources, a tensor at a time -------------------------------------------------------------

    def fetch(self, tensor: str) -> Fetched:
        """A tensor of all sources, as stored, on the device."""
        return self._mapped.fetch(tensor, self.device)

    def deltas(self, tensor: str) -> dict[str, torch.Tensor]:
        """Every checkpoint's delta of a tensor, in float32 (or float64)."""
        found = self.fetch(tensor)
        return {name: self._delta(found, name) for name in self.names}

    def _delta(self, found: Fetched, name: str) -> torch.Tensor:
        values = found.checkpoints.get(name)
        if isinstance(values, torch.Tensor):
            return values.to(self.real) - found.base.to(self.real)
        return found.delta(name).whole().to(self.real)

    def base(self, tensor: str) -> torch.Tensor:
        """The base's tensor, in float32 (or float64)."""
        return self.fetch(tensor).base.to(self.real)

    # The live model ------------------------------------------------------------------------------

    @cached_property
    def model(self) -> PreTrainedModel:
        """The live model; it holds the base's weights at first."""
        model = load_model(self.sources.base.folder, self._compute, self._trust)
        model.to(self.device)  # type: ignore[arg-type]  # transformers' annotation is too narrow
        model.eval()
        model.requires_grad_(False)
        return model

    @cached_property
    def tokenizer(self) -> Any:
        """The base's tokenizer."""
        return load_tokenizer(self.sources.base.folder, self._trust)

    @cached_property
    def live(self) -> dict[str, torch.Tensor]:
        """The live model's floating-point tensors by their names in files."""
        stand = places(self.model, untied(self.sources.base), who="base")
        stacked = next((name for name, place in stand.items() if place.part), None)
        if (
            stacked is not None
        ):  # (a part of a parameter has no gradient, and no module that calls it)
            raise UserError(
                f"directions are not computed for mixtures of experts, whose tensors transformers stacks "
                f"('{stacked}'); leave `directions` out"
            )
        own = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        return {name: own[stand[name].own] for name in self.tensors}

    @torch.no_grad()
    def mix(
        self, coefficient: Callable[[str, str], float], tensors: Iterable[str] | None = None
    ) -> None:
        """Write base + sum_i c_i * delta_i into the live model.

        Args:
            coefficient: of a tensor and a checkpoint.
            tensors: those to write; all by default.
        """
        for tensor in self.tensors if tensors is None else tensors:
            found = self.fetch(tensor)
            total = found.base.to(self.real)
            for name in self.names:
                c = coefficient(tensor, name)
                if c:
                    total = total + c * self._delta(found, name)
            self.live[tensor].data.copy_(total)

    def load(self, source: str, tensors: Iterable[str] | None = None) -> None:
        """Write the base (``base``) or a checkpoint into the live model."""
        self.mix(lambda _, name: float(name == source), tensors)

    # Passes through it ---------------------------------------------------------------------------

    def batches(self, rows: int | None = None) -> list[Batch]:
        """All examples in batches, the shortest first."""
        ordered = sorted(self.examples, key=lambda e: len(e.ids))
        found: list[list[Example]] = []
        for example in ordered:
            last = found[-1] if found else []
            fits = (len(last) + 1) * len(example.ids) <= BATCH_TOKENS
            if last and fits and len(last) < (rows or self.rows):
                last.append(example)
            else:
                found.append([example])
        return [self._batch(examples) for examples in found]

    def _batch(self, examples: Sequence[Example]) -> Batch:
        longest = max(len(e.ids) for e in examples)
        ids = torch.zeros(len(examples), longest, dtype=torch.int64)
        mask = torch.zeros(len(examples), longest, dtype=torch.bool)
        for row, example in enumerate(examples):
            ids[row, : len(example.ids)] = torch.tensor(example.ids)
            mask[row, : len(example.ids)] = True
        return Batch(tuple(examples), ids.to(self.device), mask.to(self.device))

    @cached_property
    def _keeps(self) -> bool:
        return "logits_to_keep" in inspect.signature(self.model.forward).parameters

    def logits(self, batch: Batch, last: int) -> torch.Tensor:
        """Logits at the last positions of a batch: shape (b, last, vocabulary), float32 at least."""
        self.passes += len(batch.examples)
        extra = {"logits_to_keep": last} if self._keeps else {}
        found: torch.Tensor = self.model(input_ids=batch.ids, use_cache=False, **extra).logits
        return found[:, -last:].to(self.real)

    def total(self, loss: Loss) -> float:
        """A loss summed over all batches, without gradients."""
        with torch.no_grad():
            return sum(float(loss(self, batch)) for batch in self.batches())

    def gradients(self, loss: Loss, take: Take, *, rows: int | None = None) -> float:
        """Backward passes over all batches; returns the loss, summed over them.

        Args:
            take: is given every parameter's gradient, once a batch, and must not keep it: it is
                freed before the next parameter's is there.
            rows: most examples in a batch.
        """
        parameters = [
            (name, live) for name, live in self.live.items() if isinstance(live, torch.nn.Parameter)
        ]
        hooks = []
        try:
            for name, parameter in parameters:
                parameter.requires_grad_(True)
                hook = partial(_hand_on, name, take)
                hooks.append(parameter.register_post_accumulate_grad_hook(hook))
            total = 0.0
            for batch in self.batches(rows):
                value = loss(self, batch)
                value.backward()
                total += float(value.detach())
        finally:
            for handle in hooks:
                handle.remove()
            for _, parameter in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None
        return total

    # What is kept for every weight ---------------------------------------------------------------

    def arrays(self) -> dict[str, torch.Tensor]:
        """A number for every weight, zero at first, in mapped files on the CPU."""
        return {n: on_disk(shape, self.real, self.scratch) for n, shape in self.shapes.items()}


def _hand_on(name: str, take: Take, parameter: torch.Tensor) -> None:
    gradient, parameter.grad = parameter.grad, None
    assert gradient is not None
    take(name, gradient)
