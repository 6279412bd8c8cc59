"""Where the tensors of a model's files stand in the live model.

transformers 5 renames some of them, and stacks the experts of mixtures: then a file's tensor is a part of a
parameter, in which it is merged and from which it is exported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
import transformers
from transformers import PreTrainedModel
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    WeightConverter,
    WeightRenaming,
    rename_source_key,
)

from exme.tasks import UserError

_SENSES = re.compile(r"(^|[._])(visual|vision|image|audio|speech|multi_modal|mm)([._]|$)")


@dataclass(frozen=True)
class Place:
    """Where a file's tensor stands.

    Attributes:
        own: the parameter's or buffer's name in the model.
        part: which part of it; empty is all.
    """

    own: str
    part: tuple[int | slice, ...] = ()

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part of the live tensor; it shares memory with it."""
        return tensor.data[self.part] if self.part else tensor


def live_tensors(
    model: PreTrainedModel, names: Collection[str], *, who: str
) -> dict[str, torch.Tensor]:
    """A model's parameters and buffers by the names that its files use; see `places`."""
    live = _own_tensors(model)
    return {
        name: place.of(live[place.own]) for name, place in places(model, names, who=who).items()
    }


def places(model: PreTrainedModel, names: Collection[str], *, who: str) -> dict[str, Place]:
    """Where the tensors of a model's files stand in it, by their names there, sorted.

    Tied tensors are one parameter and appear once; buffers that are not saved have no name there.

    Args:
        names: the tensors in its files, tied ones once.
        who: what error messages call the model.

    Raises:
        UserError: a tensor has no counterpart in the model, or a parameter none in the files.
    """
    live = _own_tensors(model)
    found = {name: _place(model, name, live) for name in sorted(names)}
    kind = f"{type(model).__name__} of transformers {transformers.__version__}"
    held: dict[str, int] = {}
    for name, place in found.items():
        if place is None:
            hint = (
                "; it is of a multimodal part, which a language model leaves out: save the text model by itself, for "
                "all inputs, and give that"
            )
            raise UserError(
                f"{who}: tensor '{name}' has no counterpart in {kind}{hint if _SENSES.search(name) else ''}"
            )
        held[place.own] = held.get(place.own, 0) + place.of(live[place.own]).numel()
    missing = [own for own, tensor in model.named_parameters() if held.get(own) != tensor.numel()]
    if missing:
        raise UserError(
            f"{who}: {kind} needs tensor '{missing[0]}', which its files do not hold; download or "
            f"save it again"
        )
    return {name: place for name, place in found.items() if place is not None}


def _own_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _place(model: PreTrainedModel, name: str, live: Mapping[str, torch.Tensor]) -> Place | None:
    """Where a tensor stands: GPT-NeoX's `embed_out` is `lm_head` in the model, and GPT-2's files lack a prefix."""
    if name in live:
        return Place(name)
    conversions = getattr(model, "_weight_conversions", None) or []
    renamings = [c for c in conversions if isinstance(c, WeightRenaming)]
    converters = [c for c in conversions if isinstance(c, WeightConverter)]
    prefix = model.base_model_prefix
    own, pattern = rename_source_key(name, renamings, converters, prefix, dict(live))
    if own not in live:
        return None
    if pattern is None:
        return Place(own)
    part = _part(name, pattern, converters, live[own])
    return None if part is None else Place(own, part)


def _part(
    name: str, pattern: str, converters: Sequence[WeightConverter], stacked: torch.Tensor
) -> tuple[int | slice, ...] | None:
    """Which part of a stack of experts a tensor is; None where it is not simply stacked.

    The stack has shape (experts, rows, columns); where several projections share it, their rows follow each other.
    """
    converter = next((c for c in converters if pattern in c.source_patterns), None)
    number = re.search(re.escape(pattern).replace(r"\*", r"(\d+)"), name)
    if converter is None or number is None or stacked.dim() != 3:
        return None
    operations = [(type(o), getattr(o, "dim", None)) for o in converter.operations]
    sources, expert = converter.source_patterns, int(number[1])
    if operations == [(MergeModulelist, 0)] and len(sources) == 1:
        return (expert,)
    if operations == [(MergeModulelist, 0), (Concatenate, 1)]:
        rows, position = stacked.shape[1] // len(sources), sources.index(pattern)
        return (expert, slice(position * rows, (position + 1) * rows))
    return None
