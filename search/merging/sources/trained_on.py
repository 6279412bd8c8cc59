"""Whether an adapter says that it was trained on another model than the base that it is put on.

transformers loads an adapter onto the model that its adapter_config.json names; here it is put on the study's base.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from exme.tasks import UserError

from .adapter import Adapter
from .checkpoint import ADAPTER, Checkpoint, holds_model

# Elements of each tensor that are compared, and the share of them that rounding twice may change.
_SAMPLE, _ROUNDED = 2**12, 0.01
_OF_HUB = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+?)/snapshots/")


def other_base(adapter: Adapter, base: Checkpoint) -> str | None:
    """What an adapter names as its base, where that is another model; None where it is this one, or cannot be told.

    Args:
        adapter: the adapter.
        base: the base that it is put on.
    """
    named = adapter.config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        return None
    folder = Path(named).expanduser()
    if folder.is_dir():
        return named if _is_another(folder, base) else None
    of_hub = _OF_HUB.search(base.folder.as_posix())
    if of_hub is None or f"{of_hub['owner']}/{of_hub['name']}".lower() == named.lower():
        return None
    return named


def _is_another(folder: Path, base: Checkpoint) -> bool:
    """Whether a folder holds other weights than the base's, but for rounding."""
    if folder.resolve() == base.folder.resolve():
        return False
    if (folder / ADAPTER).is_file():
        return True  # an adapter of an adapter
    if not holds_model(folder):
        return False
    try:
        other = Checkpoint(folder.name, folder)
    except UserError:  # e.g. the same, quantised
        return False
    both = base.tensors.keys() & other.tensors.keys()
    try:
        return not both or any(_differs(base.tensor(name), other.tensor(name)) for name in both)
    finally:
        other.reader.close()


def _differs(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return True
    if not one.is_floating_point() or not other.is_floating_point():
        return not torch.equal(one, other)
    coarser = max((one.dtype, other.dtype), key=lambda dtype: torch.finfo(dtype).eps)
    start = max(0, one.numel() // 2 - _SAMPLE // 2)
    ours, theirs = (t.reshape(-1)[start : start + _SAMPLE].to(coarser) for t in (one, other))
    return float((ours != theirs).float().mean()) > _ROUNDED
