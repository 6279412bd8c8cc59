"""A direction's task vector: one safetensors file of deltas, written one tensor at a time.

Deltas are kept in float32 where the base is, in bfloat16 elsewhere: relative to the delta that is as fine as the
base's own dtype is relative to its weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exme.tasks import ShapeMismatch, UserError

from .checkpoint import Checkpoint, read_json, refuse_unbounded
from .unchanged import Unchanged
from .weight_files import Reader, TensorSpec, header_of, read_header, sync

if TYPE_CHECKING:
    import torch

RECORD = "direction.json"
VECTOR = "task_vector.safetensors"


class VectorFile:
    """A safetensors file whose tensors are written one at a time, in any order.

    Args:
        file: what to write; replaced.
        shapes: shape of every tensor.
        wide: float32; bfloat16 otherwise.
    """

    def __init__(self, file: Path, shapes: Mapping[str, tuple[int, ...]], *, wide: bool) -> None:
        self._wide, self._shapes, self._file = wide, dict(shapes), file
        dtype = "float32" if wide else "bfloat16"
        header, self._places, end = header_of({n: (dtype, shape) for n, shape in shapes.items()})
        self._stream = file.open("wb")
        self._stream.write(header)
        self._start = self._stream.tell()
        self._stream.truncate(self._start + end)

    def write(self, name: str, delta: torch.Tensor) -> None:
        """Write a tensor's delta.

        Raises:
            FloatingPointError: it is not finite.
            ShapeMismatch: it is not of the base's shape.
        """
        import torch  # noqa: PLC0415

        if tuple(delta.shape) != self._shapes[name]:
            raise ShapeMismatch(
                f"tensor '{name}': shape {list(delta.shape)}, the base's is "
                f"{list(self._shapes[name])}"
            )
        values = delta.detach().to("cpu", torch.float32 if self._wide else torch.bfloat16)
        if not values.isfinite().all():
            raise FloatingPointError(f"tensor '{name}' of the direction is not finite")
        self._stream.seek(self._start + self._places.pop(name))
        self._stream.write(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def close(self) -> None:
        """Finish the file; synced to disk.

        Raises:
            ValueError: a tensor is missing.
        """
        self._stream.close()
        if self._places:
            raise ValueError(f"{self._file.name}: tensor '{next(iter(self._places))}' is missing")
        sync(self._file)


class TaskVector:
    """A direction's task vector as a source: base + delta, in float32.

    Args:
        folder: the folder that holds it.
        base: the base that it was computed from.

    Raises:
        UserError: it is damaged, or of another base.
    """

    def __init__(self, name: str, folder: Path, base: Checkpoint) -> None:
        self.name, self.folder, self._base = name, folder, base
        self.record: dict[str, Any] = read_json(folder / RECORD)
        file = folder / VECTOR
        if not file.is_file():
            raise UserError(f"direction '{name}': {file} is missing; remove {folder}, search again")
        self.files = [file]
        self.unchanged = Unchanged(name, (folder / RECORD, file))
        self._deltas: dict[str, TensorSpec] = {}
        for spec in read_header(file, name):
            own = base.tensors.get(spec.name)
            if own is None or own.shape != spec.shape:
                raise UserError(
                    f"direction '{name}': tensor '{spec.name}' of {file} has no counterpart in the "
                    f"base; it was computed from another"
                )
            self._deltas[spec.name] = spec
        if self.record.get("made_of", {}).get("base") != base.fingerprint:
            raise UserError(
                f"direction '{name}': {folder} was computed from another base; give that one"
            )
        self.reader = Reader()
        self.tensors, self.dtype = base.tensors, base.dtype

    @property
    def bytes(self) -> int:
        """Size as a source, in float32."""
        return sum(4 * spec.elements for spec in self._deltas.values())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the deltas' file, and the direction's name; see `made_by`."""
        with self.files[0].open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return f"{digest}:{self.record['direction']}"

    def delta(self, name: str) -> torch.Tensor:
        """A tensor's delta as it is stored."""
        return self.reader.tensor(self.files[0], name)

    def tensor(self, name: str) -> torch.Tensor | None:
        """Base + delta in float32 (float64 of a float64 base); None where it is the base's."""
        import torch  # noqa: PLC0415

        if name not in self._deltas:
            return None
        base = self._base.tensor(name)
        wide = torch.promote_types(base.dtype, torch.float32)
        return base.to(wide) + self.delta(name).to(wide)

    def load(self) -> None:
        """Check all deltas, one at a time.

        Raises:
            UserError: one holds NaN or infinity.
        """
        for name in self._deltas:
            refuse_unbounded(self.name, name, self.delta(name))


def is_direction(folder: Path) -> bool:
    """Whether a folder holds a direction's task vector."""
    return (folder / RECORD).is_file() and (folder / VECTOR).is_file()


def made_by(fingerprint: str) -> str:
    """The direction that made a source; empty for a base or a checkpoint.

    The fingerprint of a direction's task vector is its file's SHA-256, a colon and its name.
    """
    return fingerprint.partition(":")[2]
