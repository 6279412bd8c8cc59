"""A live model over several devices, by accelerate: for models that no single one holds.

Layers go to the GPUs in order, and what is left over into the host's memory, from where accelerate copies
them in for their computation. Candidates are written where each tensor lives.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from exme.tasks import UserError

from .live import Place

SPREAD = "spread"  # as the study says it
Memory = Mapping[int | str, int | str]


class NoRoom(UserError):
    """A model fits nowhere, not even in parts."""


def spread(model: PreTrainedModel, most: Memory | None = None) -> None:
    """Spread a model that is in the host's memory.

    Args:
        most: memory that may be used by device (a GPU's number, ``cpu``); what is free by default.

    Raises:
        NoRoom: all of it together is too little.
    """
    from accelerate import dispatch_model, infer_auto_device_map  # noqa: PLC0415  (slow, rarely needed)
    from accelerate.utils import get_balanced_memory  # noqa: PLC0415

    whole = list(getattr(model, "_no_split_modules", None) or ())
    memory = None if most is None else dict(most)
    if torch.cuda.is_available():
        memory = get_balanced_memory(model, memory, no_split_module_classes=whole)
    places = infer_auto_device_map(model, max_memory=memory, no_split_module_classes=whole)
    outside = [name for name, place in places.items() if place == "disk"]
    if outside:
        raise NoRoom(
            f"device 'spread': parts of the live model ({outside[0] or 'all of it'}) fit neither on a "
            f"GPU nor into memory; use a smaller compute_dtype, or a larger machine"
        )
    dispatch_model(model, places, state_dict=model.state_dict())


def where_they_live(
    model: PreTrainedModel, before: Mapping[str, torch.Tensor], stand: Mapping[str, Place]
) -> dict[str, torch.Tensor]:
    """The tensors to write a candidate into, once a model has been spread.

    Args:
        before: its tensors before, by the names that files use. Where accelerate copies one in for its
            computation it is on no device now, and the one that was there is what is copied.
        stand: where they stand in the model.
    """
    after = _tensors(model)
    return {
        name: tensor.data
        if after[stand[name].own].device.type == "meta"
        else stand[name].of(after[stand[name].own])
        for name, tensor in before.items()
    }


def _tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Parameters and buffers by their own names; tied ones by each of them."""
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
