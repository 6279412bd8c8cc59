"""Checkpoints on disk: what they hold, and their tensors.

This is the only module that reads or writes checkpoint files. Weights are safetensors; headers are
read first, so that what does not fit is refused before anything is loaded whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from exme.tasks.errors import UserError

if TYPE_CHECKING:
    import torch

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# What old files hold besides parameters: rotary frequencies, causal masks and positions, which
# transformers computes and leaves unread (`_keys_to_ignore_on_load_unexpected` of its models).
_COMPUTED = re.compile(
    r"(^|\.)(rotary_emb\.inv_freq|(attention|attn|crossattention)\.(masked_)?bias|position_ids)$"
)

# The output layers that may be the input embedding once more.
_HEADS = ("lm_head.weight", "embed_out.weight")


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
_TORCH_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Checkpoint:
    """A folder with config.json and safetensors weights, opened without loading them.

    Args:
        name: what the study calls it; error messages use it.
        folder: the folder.

    Raises:
        UserError: no such folder, no config, no safetensors, or a damaged file.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        if not (folder / "config.json").is_file():
            adapter = (folder / "adapter_config.json").is_file()
            hint = (
                "; it is an adapter, which is a checkpoint of a base, not a model by itself"
                if adapter
                else "; give the folder of a model in transformers' format"
            )
            raise UserError(f"checkpoint '{name}': {folder} has no config.json{hint}")
        self.config: dict[str, Any] = read_json(folder / "config.json")
        self._index = self._read_index()
        self.files = self._find_files()
        found: dict[str, TensorSpec] = {}
        for file in self.files:
            for spec in read_header(file, name):
                if spec.name in found:
                    raise UserError(
                        f"checkpoint '{name}': tensor '{spec.name}' is in two files, "
                        f"{found[spec.name].file.name} and {file.name}; save the checkpoint again"
                    )
                found[spec.name] = spec
        self._check_index(found)
        self.unchanged = Unchanged(name, self.files)
        self.tensors = {n: spec for n, spec in found.items() if not _COMPUTED.search(n)}
        if not any(spec.is_float for spec in self.tensors.values()):
            raise UserError(f"checkpoint '{name}': {folder} holds no floating-point tensors")

    def _read_index(self) -> dict[str, str]:
        """Shard of each tensor; empty for a single file, which transformers prefers too."""
        index = self.folder / INDEX
        if (self.folder / SINGLE).is_file() or not index.is_file():
            return {}
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(f"checkpoint '{self.name}': {index} has no weight_map")
        for shard in weight_map.values():
            is_name = isinstance(shard, str) and shard not in ("", ".", "..") and "\0" not in shard
            if not is_name or Path(shard).name != shard:
                raise UserError(f"checkpoint '{self.name}': {index} points outside: {shard!r}")
        return weight_map

    def _find_files(self) -> list[Path]:
        shards = sorted(set(self._index.values())) or [SINGLE]
        files = [self.folder / shard for shard in shards]
        for file in files:
            if _is_file(file):
                continue
            pickles = [p.name for p in self.folder.glob("*.bin")]
            hint = (
                f"; {pickles[0]} is a pickle, which is never read: convert it with "
                f"`save_pretrained(..., safe_serialization=True)`"
                if pickles
                else "; weights are read from safetensors only"
            )
            raise UserError(f"checkpoint '{self.name}': {file} is missing{hint}")
        return files

    def _check_index(self, found: Mapping[str, TensorSpec]) -> None:
        for tensor in self._index:
            if tensor not in found:
                raise UserError(
                    f"checkpoint '{self.name}': {self.folder / INDEX} names tensor '{tensor}', "
                    f"which none of its files holds; download the checkpoint again"
                )

    @property
    def bytes(self) -> int:
        """Size of all tensors in bytes."""
        return sum(spec.bytes for spec in self.tensors.values())

    @property
    def dtype(self) -> str:
        """The dtype that most of its floating-point elements are stored in, as torch names it."""
        counts: dict[str, int] = {}
        for spec in self.tensors.values():
            if spec.is_float:
                counts[spec.dtype] = counts.get(spec.dtype, 0) + spec.bytes
        return _TORCH_NAMES[max(counts, key=lambda d: counts[d])]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content of all weight files, in order of their names."""
        return digest_files(self.files)

    @cached_property
    def settings_fingerprint(self) -> str:
        """SHA-256 over names and content of the other files that decide what the model answers."""
        found = {file for pattern in _SETTINGS for file in self.folder.glob(pattern)}
        return digest_files(sorted(file for file in found if file.is_file()), names=True)

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor as it is stored, mapped from its file: memory is taken as it is read."""
        return self._reader.tensor(self.tensors[name].file, name)

    @cached_property
    def _reader(self) -> Reader:
        return Reader()

    def load(self) -> dict[str, torch.Tensor]:
        """All tensors, mapped from their files, in the dtypes they are stored in; tied ones once.

        Raises:
            UserError: a tensor holds NaN or infinity, or a tied one is not the embedding.
        """
        import torch  # noqa: PLC0415  (the command line's help must not load torch)

        loaded = {name: self.tensor(name) for name in self.tensors}
        for name, value in loaded.items():
            refuse_unbounded(self.name, name, value)
        for head in tied_names(self) & set(loaded):
            value = loaded.pop(head)
            alike = (t for t in loaded.values() if (t.shape, t.dtype) == (value.shape, value.dtype))
            if not any(torch.equal(value, t) for t in alike):
                raise UserError(
                    f"checkpoint '{self.name}': '{head}' is not the embedding, although config.json "
                    f"says that they are tied; set `tie_word_embeddings` to false there"
                )
        return loaded


# Configuration, tokenizer and code, by their names in transformers.
_SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "*.tiktoken",
    "chat_template.*",
    "*.py",
)


def digest_files(files: Sequence[Path], *, names: bool = False) -> str:
    """SHA-256 over the content of files, in this order, and over their names where these matter."""
    digest = hashlib.sha256()
    for file in files:
        if names:
            digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class Unchanged:
    """Notices that files were changed while they are in use, by what the file system says of them.

    Not noticed is a change that leaves size, inode and both times as they were, which takes someone
    who sets out to do it; the fingerprint of the next start notices that, too.

    Args:
        name: what error messages call them.
        files: the files.
    """

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        self.name = name
        self._seen = {file: _state(file) for file in files}

    def check(self) -> None:
        """Refuse files that are not what they were.

        Raises:
            UserError: names the file.
        """
        for file, seen in self._seen.items():
            if _state(file) != seen:
                raise UserError(
                    f"checkpoint '{self.name}': {file} was changed while it is in use; put the old "
                    f"file back, then the same command resumes"
                )


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


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


def refuse_unbounded(checkpoint: str, name: str, value: torch.Tensor) -> None:
    """Refuse a tensor with NaN or infinity; a few MB at a time."""
    if not value.is_floating_point():
        return
    for piece in value.reshape(-1).split(2**22):
        if not piece.isfinite().all():
            raise UserError(
                f"checkpoint '{checkpoint}': tensor '{name}' holds NaN or infinity; "
                f"it cannot be merged"
            )


def write_weights(
    folder: Path, tensors: Mapping[str, torch.Tensor], max_shard_bytes: int = 5 * 10**9
) -> list[Path]:
    """Write tensors as transformers does: one file, or shards and their index; synced to disk.

    Args:
        folder: an existing folder.
        tensors: contiguous CPU tensors that share no memory, by parameter name.
        max_shard_bytes: largest size of a file's tensors; a larger tensor has a file to itself.

    Returns:
        The files with weights, in order.

    Raises:
        OSError: the disk is full, or does not take the files.
    """
    from huggingface_hub import split_torch_state_dict_into_shards  # noqa: PLC0415

    split = split_torch_state_dict_into_shards(dict(tensors), max_shard_size=max_shard_bytes)
    return write_shards(folder, split.filename_to_tensors, tensors.__getitem__)


def write_shards(
    folder: Path, shards: Mapping[str, Sequence[str]], make: Callable[[str], torch.Tensor]
) -> list[Path]:
    """Write weight files one after the other, each of which is forgotten before the next is made.

    Args:
        folder: an existing folder.
        shards: names of the tensors in each file.
        make: gives a tensor by its name, contiguous, on the CPU.

    Returns:
        The files with weights, in order.

    Raises:
        OSError: the disk is full, or does not take the files.
    """
    from safetensors.torch import save_file  # noqa: PLC0415

    files, size = [], 0
    for file, names in shards.items():
        files.append(folder / file)
        tensors = {name: make(name) for name in names}
        size += sum(tensor.nbytes for tensor in tensors.values())
        try:
            save_file(tensors, files[-1], metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"{files[-1]}: {error}") from None
        sync(files[-1])
    if len(shards) > 1:
        places = {name: file for file, names in shards.items() for name in names}
        index = {"metadata": {"total_size": size}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
        sync(folder / INDEX)
    return files


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name that is too long
        return False


def tied_names(checkpoint: Checkpoint) -> set[str]:
    """Tensors that a file may hold although they are the embedding once more.

    Where config.json is silent, transformers' default differs from model to model: an output layer
    that the files do not hold is taken to be tied.
    """
    tied = checkpoint.config.get("tie_word_embeddings")
    if tied is None:
        return {head for head in _HEADS if head not in checkpoint.tensors}
    return set(_HEADS) if tied else set()


def read_header(file: Path, name: str) -> Iterator[TensorSpec]:
    """The tensors that a safetensors file says it holds.

    Args:
        file: the file.
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; a UserError where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data
