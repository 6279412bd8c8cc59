"""PEFT LoRA adapters as checkpoints: base + scale * B @ A, computed when it is needed.

    delta = scale * B A,  scale = alpha / r,  or alpha / sqrt(r) where the adapter is rank-stabilised

Source: Hu et al. 2021, arXiv:2106.09685, sec. 4.1; Kalajdzievski 2023, arXiv:2312.03732. File format
and exceptions (`rank_pattern`, `fan_in_fan_out`, `modules_to_save`, embeddings): peft 0.21,
`tuners/lora/layer.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exme.tasks import ShapeMismatch, UserError

from .adapter_settings import check_settings, scale_of
from .checkpoint import (
    ADAPTER,
    Checkpoint,
    holds_model,
    is_embedding,
    read_json,
    refuse_unbounded,
    tied_names,
)
from .location import locate
from .task_vector import TaskVector, is_direction
from .unchanged import Unchanged, digest_files
from .weight_files import Reader, TensorSpec, read_header

if TYPE_CHECKING:
    import torch

WEIGHTS = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_PART = re.compile(
    r"^(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<part>[AB])(\.default)?(\.weight)?$"
)
_SAVED = re.compile(r"\.modules_to_save(\.default)?(?=\.)")


@dataclass(frozen=True)
class LowRank:
    """A delta in two factors: scale * left @ right, in float32.

    Attributes:
        left: shape (rows, r); `right` has shape (r, columns).
        scale: dimensionless.
    """

    left: torch.Tensor
    right: torch.Tensor
    scale: float

    @property
    def columns(self) -> int:
        """Length of a row of the delta."""
        return int(self.right.shape[1])

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Rows of the delta: shape (stop - start, columns), float32."""
        return (self.left[start:stop].float() @ self.right.float()).mul_(self.scale)

    def delta(self) -> torch.Tensor:
        """The whole delta."""
        return self.rows(0, self.left.shape[0])

    def to(self, device: torch.device) -> LowRank:
        """The same on another device."""
        return LowRank(self.left.to(device), self.right.to(device), self.scale)


class Adapter:
    """A folder with a LoRA adapter, opened without loading it.

    Args:
        name: what the study calls it.
        base: the base that it was trained on.

    Raises:
        UserError: no LoRA adapter, one of another base, or one that is more than scale * B @ A.
        ShapeMismatch: a tensor does not fit the base's.
    """

    def __init__(self, name: str, folder: Path, base: Checkpoint) -> None:
        self.name, self.folder, self._base = name, folder, base
        self.config: dict[str, Any] = read_json(folder / ADAPTER)
        check_settings(name, folder, self.config)
        file = folder / WEIGHTS
        if not file.is_file():
            raise UserError(
                f"checkpoint '{name}': {file} is missing; weights are read from safetensors only"
            )
        self.files = [file]
        self.unchanged = Unchanged(name, (folder / ADAPTER, file))
        self.reader = Reader()
        self._parts: dict[str, dict[str, TensorSpec]] = {}
        self._saved: dict[str, TensorSpec] = {}
        for spec in read_header(file, name):
            self._sort(spec)
        if not self._parts and not self._saved:
            raise UserError(f"checkpoint '{name}': {file} holds no tensors; save the adapter again")
        for tensor in self._parts:
            self._check_factors(tensor)
        self.tensors = base.tensors
        self.dtype = base.dtype

    def _sort(self, spec: TensorSpec) -> None:
        """Put a tensor of the adapter's file where it belongs."""
        if not spec.is_float:
            raise UserError(
                f"checkpoint '{self.name}': tensor '{spec.name}' is {spec.dtype}, expected floating "
                f"point; save the adapter in float32, float16 or bfloat16"
            )
        bare = spec.name.removeprefix(_PREFIX)
        found = _PART.match(bare)
        if found is None:
            tensor = _SAVED.sub("", bare).replace(".base_layer.", ".")
            expected = self._target(tensor, spec)
            if spec.shape != self._base.tensors[expected].shape:
                raise self._mismatch(expected, spec.shape)
            self._saved[expected] = spec
            return
        tensor = self._target(f"{found['module']}.weight", spec)
        part = (found["embedding"] or "") + found["part"]
        self._parts.setdefault(tensor, {})[part] = spec

    def _target(self, tensor: str, spec: TensorSpec) -> str:
        """The base's tensor that one of the adapter's belongs to."""
        tied = tied_names(self._base)
        if tied and (tensor in tied or is_embedding(tensor)):
            raise UserError(
                f"checkpoint '{self.name}': it changes '{tensor}' alone, and the base's embedding and output "
                f"layer are one tensor (tie_word_embeddings); train it without that, or on a base that was saved "
                f"untied, and give that base"
            )
        if tensor in self._base.tensors:
            return tensor
        raise UserError(
            f"checkpoint '{self.name}': its tensor '{spec.name}' belongs to '{tensor}', which the "
            f"base does not have; give the base that the adapter was trained on "
            f"({self.config.get('base_model_name_or_path')})"
        )

    def _mismatch(self, tensor: str, shape: tuple[int, ...]) -> ShapeMismatch:
        ours = self._base.tensors[tensor].shape
        rows = len(shape) == len(ours) and shape[0] != ours[0] and shape[1:] == ours[1:]
        remedy = (
            "its embeddings were resized: merge it into its base with peft's `merge_and_unload()`, save that with its "
            "tokenizer, and give it with `vocabulary: union`"
            if rows
            else f"give the base that it was trained on ({self.config.get('base_model_name_or_path')})"
        )
        return ShapeMismatch(
            f"checkpoint '{self.name}': tensor '{tensor}' has shape {list(shape)}, the base's has {list(ours)}; {remedy}"
        )

    def _check_factors(self, tensor: str) -> None:
        parts, shape = self._parts[tensor], self._base.tensors[tensor].shape
        if set(parts) not in ({"A", "B"}, {"embedding_A", "embedding_B"}):
            raise UserError(
                f"checkpoint '{self.name}': tensor '{tensor}' has {', '.join(sorted(parts))} of the "
                f"two factors A and B; save the adapter again"
            )
        a, b = (parts[name].shape for name in sorted(parts))
        if 0 in (*a, *b):
            raise UserError(
                f"checkpoint '{self.name}': tensor '{tensor}' has factors of rank 0; save the "
                f"adapter again"
            )
        if len(a) != 2 or len(b) != 2 or len(shape) != 2:
            raise UserError(
                f"checkpoint '{self.name}': tensor '{tensor}' is adapted as a convolution, which is "
                f"not read; merge it into its base with peft's `merge_and_unload()` and save that"
            )
        product = (a[1], b[0]) if self._is_transposed(parts) else (b[0], a[1])
        if a[0] != b[1] or product != shape:
            raise self._mismatch(tensor, product)

    def _is_transposed(self, parts: Mapping[str, TensorSpec]) -> bool:
        return "embedding_A" in parts or bool(self.config.get("fan_in_fan_out"))

    @property
    def bytes(self) -> int:
        """Size of the adapter's tensors in bytes."""
        specs = [spec for parts in self._parts.values() for spec in parts.values()]
        return sum(spec.bytes for spec in (*specs, *self._saved.values()))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the adapter's configuration and its weights."""
        return digest_files((self.folder / ADAPTER, *self.files))

    def tensor(self, name: str) -> torch.Tensor | LowRank | None:
        """A tensor that the adapter holds whole, its delta in factors, or None: it is the base's."""
        parts = self._parts.get(name)
        if parts is None:
            saved = self._saved.get(name)
            return None if saved is None else self.reader.tensor(self.files[0], saved.name)
        a, b = (self.reader.tensor(self.files[0], parts[part].name) for part in sorted(parts))
        scale = scale_of(self.config, name.removesuffix(".weight"), int(a.shape[0]))
        if self._is_transposed(parts):
            return LowRank(a.T.contiguous(), b.T.contiguous(), scale)
        return LowRank(b, a, scale)

    def load(self) -> dict[str, torch.Tensor | LowRank]:
        """All that the adapter holds, by the base's names.

        Raises:
            UserError: a tensor holds NaN or infinity, or an adapted one was trained by itself, too.
        """
        for name in self._parts.keys() & self._saved.keys():  # peft saves embeddings it adapts
            saved = self.reader.tensor(self.files[0], self._saved[name].name)
            if not saved.equal(self._base.tensor(name).to(saved.dtype)):
                raise UserError(
                    f"checkpoint '{self.name}': tensor '{name}' is adapted and saved with other "
                    f"values than the base's; give the base that the adapter was trained on"
                )
        found: dict[str, torch.Tensor | LowRank] = {}
        for name in (*self._parts, *self._saved):
            value = self.tensor(name)
            assert value is not None
            factors = (value.left, value.right) if isinstance(value, LowRank) else (value,)
            for factor in factors:
                refuse_unbounded(self.name, name, factor)
            found[name] = value
        return found


Source = Checkpoint | Adapter | TaskVector


def open_checkpoint(name: str, folder: Path, base: Checkpoint) -> Source:
    """A source of any kind: a whole model, a LoRA adapter on the base, or a direction's task vector."""
    if is_direction(folder):
        return TaskVector(name, folder, base)
    if (folder / ADAPTER).is_file() and not holds_model(folder):
        return Adapter(name, folder, base)
    return Checkpoint(name, folder)


def open_models(base: str, checkpoints: Mapping[str, str]) -> tuple[Checkpoint, dict[str, Source]]:
    """The base and the checkpoints of a study, adapters resolved; whether they fit is not looked at.

    Args:
        base: where it is, as a study says it.
        checkpoints: likewise, by name.

    Raises:
        UserError: one cannot be found or opened, or is there twice.
    """
    origin = Checkpoint("base", locate(base, who="base"))
    seen = {origin.folder.resolve(): "base"}
    opened = {}
    for name, where in checkpoints.items():
        folder = locate(where, who=f"checkpoint '{name}'")
        twin = seen.setdefault(folder.resolve(), name)
        if twin != name:
            raise UserError(
                f"checkpoint '{name}': {where} is the same folder as '{twin}'; name it once"
            )
        opened[name] = open_checkpoint(name, folder, origin)
    return origin, opened
