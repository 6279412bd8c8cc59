"""Checkpoints: folders with a config.json and weights, opened without loading them.

Headers are read first, so that what does not fit is refused before anything is loaded whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exme.tasks import UserError

from .location import TOKENIZER
from .settings import effective
from .unchanged import Unchanged, digest_files
from .weight_files import INDEX, TORCH_NAMES, Reader, TensorSpec, read_header

if TYPE_CHECKING:
    import torch

SINGLE = "model.safetensors"
ADAPTER = "adapter_config.json"
# What a trainer calls the folders of its checkpoints.
CHECKPOINTS = "checkpoint-*"

# What old files hold besides parameters: rotary frequencies, causal masks and positions, which
# transformers computes and leaves unread (`_keys_to_ignore_on_load_unexpected` of its models).
_COMPUTED = re.compile(
    r"(^|\.)(rotary_emb\.inv_freq|(attention|attn|crossattention)\.(masked_)?bias|position_ids)$"
)

# The output layers that may be the input embedding once more.
_HEADS = ("lm_head.weight", "embed_out.weight")
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|embed_in|wte|word_embeddings|embeddings)\.weight$")


class Checkpoint:
    """A folder with config.json and safetensors weights, opened without loading them.

    Args:
        name: what the study calls it; error messages use it.

    Raises:
        UserError: no such folder, no config, no safetensors, or a damaged file.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        if not (folder / "config.json").is_file():
            hint = "; give the folder of a model in transformers' format"
            if (folder / ADAPTER).is_file():
                hint = "; it is an adapter, which is a checkpoint of a base, not a model by itself"
            elif inner := sorted(folder.glob(f"*/{ADAPTER}")):
                hint = f"; its folder {inner[0].parent.name} holds an adapter: give that"
            elif any(folder.glob(CHECKPOINTS)):
                hint = (
                    "; it holds checkpoints of a training run: give it to `exme init` with --run, or write "
                    "checkpoints: {run: folder, best: 2}"
                )
            raise UserError(f"checkpoint '{name}': {folder} has no config.json{hint}")
        if (folder / ADAPTER).is_file():
            raise UserError(
                f"checkpoint '{name}': {folder} holds a whole model and an adapter ({ADAPTER}), which transformers "
                f"would put on top of it; give a folder that holds the one that is meant"
            )
        self.config: dict[str, Any] = read_json(folder / "config.json")
        self._refuse_quantised()
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

    def _refuse_quantised(self) -> None:
        """Refuse weights that stand for others; some formats keep them in tensors of other names."""
        quantised = self.config.get("quantization_config")
        if quantised:
            kind = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
            raise UserError(
                f"checkpoint '{self.name}': {self.folder} was quantised ({kind or 'quantization_config'}); quantised "
                f"weights cannot be merged, give the checkpoint in float32, float16 or bfloat16"
            )

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
        return TORCH_NAMES[max(counts, key=lambda d: counts[d])]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What config.json says, and what it leaves to its class's defaults."""
        return effective(self.config, who=f"checkpoint '{self.name}'")

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
        return self.reader.tensor(self.tensors[name].file, name)

    @cached_property
    def reader(self) -> Reader:
        """What maps its files."""
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
    *TOKENIZER,
    "*.py",
)


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


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name that is too long
        return False


def tied_names(checkpoint: Checkpoint) -> set[str]:
    """Tensors that a file may hold although they are the embedding once more.

    Of a class that transformers does not know and whose config.json is silent, an output layer that the files do
    not hold is taken to be tied.
    """
    tied = checkpoint.settings.get("tie_word_embeddings")
    if tied is None:
        return {head for head in _HEADS if head not in checkpoint.tensors}
    return set(_HEADS) if tied else set()


def untied(checkpoint: Checkpoint) -> dict[str, TensorSpec]:
    """What a model's files hold, tied tensors once."""
    tied = tied_names(checkpoint)
    return {name: spec for name, spec in checkpoint.tensors.items() if name not in tied}


def is_embedding(tensor: str) -> bool:
    """Whether a tensor is the input embedding, by its name."""
    return _EMBEDDING.search(tensor) is not None


def holds_model(folder: Path) -> bool:
    """Whether a folder has the weights of a whole model."""
    return (folder / "config.json").is_file() and any(
        (folder / file).is_file() for file in (SINGLE, INDEX)
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; a UserError where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data
