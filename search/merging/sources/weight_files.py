"""Weight files: safetensors, read by their headers and mapped, written tensor by tensor; and tensors in scratch files.

The only module that opens weight files.
"""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from exme.tasks import UserError

if TYPE_CHECKING:
    import torch

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as its file's header states it.

    Attributes:
        name: parameter name, e.g. ``model.embed_tokens.weight``.
        shape: its shape.
        dtype: its dtype as safetensors writes it, e.g. ``BF16``.
        file: file that holds it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.elements * _DTYPE_BYTES[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether it takes part in a merge; integer and boolean tensors are copied."""
        return self.dtype in _FLOATS


_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_DTYPE_BYTES = _FLOATS | {
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "U16": 2, "U32": 4, "U64": 8, "BOOL": 1,
}  # fmt: skip
# As torch names them, and as safetensors does.
_STORED = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32",
    "uint64": "U64", "bool": "BOOL",
}  # fmt: skip
_ORDER = "U64 I64 F64 F32 U32 I32 BF16 F16 U16 I16 I8 U8 BOOL".split()  # within a file
TORCH_NAMES = {stored: name for name, stored in _STORED.items()}


class Reader:
    """Tensors of safetensors files, which stay open and mapped."""

    def __init__(self) -> None:
        self._open: dict[Path, Any] = {}

    def tensor(self, file: Path, name: str) -> torch.Tensor:
        """A tensor on the CPU; its pages are read from the file when they are touched."""
        if file not in self._open:
            self._open[file] = safe_open(file, framework="pt")
        found: torch.Tensor = self._open[file].get_tensor(name)
        return found

    @property
    def is_open(self) -> bool:
        """Whether a file is mapped."""
        return bool(self._open)

    def close(self) -> None:
        """Let go of the files; a tensor that somebody still has keeps its own."""
        self._open.clear()


def read_header(file: Path, name: str) -> Iterator[TensorSpec]:
    """The tensors that a safetensors file says it holds.

    Args:
        name: the checkpoint's name, for errors.

    Raises:
        UserError: the file is damaged, or holds quantised weights.
    """
    try:
        with safe_open(file, framework="np") as content:
            for tensor in content.keys():  # noqa: SIM118  (not a mapping)
                view = content.get_slice(tensor)
                dtype = view.get_dtype()
                if dtype not in _DTYPE_BYTES:
                    raise UserError(
                        f"checkpoint '{name}': tensor '{tensor}' is {dtype}; quantised weights "
                        f"cannot be merged, give the checkpoint in float32, float16 or bfloat16"
                    )
                yield TensorSpec(tensor, tuple(view.get_shape()), dtype, file)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"checkpoint '{name}': {file} is not a whole safetensors file ({error}); download or "
            f"save it again"
        ) from None


def split(
    specs: Mapping[str, tuple[str, tuple[int, ...]]], max_shard_bytes: int
) -> dict[str, list[str]]:
    """Names of the tensors in each weight file, filled in order as transformers fills them.

    Args:
        specs: dtype as torch names it and shape of each tensor.
        max_shard_bytes: largest size of a file's tensors; a larger tensor has a file to itself.
    """
    from huggingface_hub import split_state_dict_into_shards_factory  # noqa: PLC0415  (slow)

    def size(spec: tuple[str, tuple[int, ...]]) -> int:
        return math.prod(spec[1]) * _DTYPE_BYTES[_STORED[spec[0]]]

    return split_state_dict_into_shards_factory(
        dict(specs),
        get_storage_size=size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_bytes,
    ).filename_to_tensors


def write_shards(
    folder: Path,
    shards: Mapping[str, Sequence[str]],
    specs: Mapping[str, tuple[str, tuple[int, ...]]],
    make: Callable[[str], torch.Tensor],
) -> list[Path]:
    """Write weight files, each tensor of which is forgotten before the next is made.

    Args:
        folder: an existing folder.
        shards: names of the tensors in each file.
        specs: dtype as torch names it and shape of each tensor.
        make: gives a tensor by its name, contiguous, on the CPU.

    Returns:
        The files with weights, in order.

    Raises:
        OSError: the disk is full, or does not take the files.
    """
    files, size = [], 0
    for file, names in shards.items():
        files.append(folder / file)
        size += _write_file(files[-1], {name: specs[name] for name in names}, make)
    if len(shards) > 1:
        places = {name: file for file, names in shards.items() for name in names}
        index = {"metadata": {"total_size": size}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
        sync(folder / INDEX)
    return files


def _write_file(
    file: Path,
    specs: Mapping[str, tuple[str, tuple[int, ...]]],
    make: Callable[[str], torch.Tensor],
) -> int:
    """Write one file by the format's definition, and say how many bytes its tensors take.

    The widest dtypes come first, so that every tensor is aligned. The same bytes as safetensors' `save_file`.
    """
    import torch  # noqa: PLC0415  (the command line's help must not load torch)

    order = sorted(specs, key=lambda name: (_ORDER.index(_STORED[specs[name][0]]), name))
    header, _, end = header_of({name: specs[name] for name in order})
    with file.open("wb", buffering=0) as stream:
        _write(stream, header)
        for name in order:
            tensor = make(name)
            if (str(tensor.dtype), tuple(tensor.shape)) != (
                f"torch.{specs[name][0]}",
                specs[name][1],
            ):
                raise ValueError(f"tensor '{name}' is {tensor.dtype} {list(tensor.shape)}")
            if tensor.numel():
                _write(stream, tensor.detach().reshape(-1).view(torch.uint8).numpy().data)
            del tensor
        os.fsync(stream.fileno())
    return end


def header_of(
    specs: Mapping[str, tuple[str, tuple[int, ...]]],
) -> tuple[bytes, dict[str, int], int]:
    """What a safetensors file begins with, its length a multiple of eight.

    Args:
        specs: dtype as torch names it and shape of each tensor, in the order in which they stand in the file.

    Returns:
        The bytes, where each tensor begins behind them, and how many bytes all tensors take.
    Source: safetensors' README, "Format".
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    places, end = {}, 0
    for name, (dtype, shape) in specs.items():
        stored = _STORED[dtype]
        places[name], end = end, end + math.prod(shape) * _DTYPE_BYTES[stored]
        offsets = [places[name], end]
        header[name] = {"dtype": stored, "shape": list(shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, places, end


def _write(stream: io.FileIO, content: bytes | memoryview) -> None:
    """Write all of it: a single call may take less, and never more than 2 GB."""
    rest = memoryview(content)
    while rest:
        rest = rest[stream.write(rest[: 2**30]) :]


# Not /tmp, which is memory on many machines.
_SCRATCH = Path("/var/tmp")


def on_disk(shape: Sequence[int], dtype: torch.dtype, folder: Path = _SCRATCH) -> torch.Tensor:
    """A tensor of zeros in a file without a name: its pages may leave the memory.

    For what is as large as the sources and must not be in memory with them.

    Args:
        folder: where the file is, until nobody has the tensor; the system's own where it is not there.
    """
    import torch  # noqa: PLC0415

    count = math.prod(shape)
    if not count:
        return torch.empty(*shape, dtype=dtype)
    with tempfile.NamedTemporaryFile(dir=folder if folder.is_dir() else None) as file:
        file.truncate(count * dtype.itemsize)
        found = torch.from_file(file.name, shared=True, size=count, dtype=dtype)
    return found.reshape(*shape)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
