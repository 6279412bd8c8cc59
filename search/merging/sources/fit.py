"""Whether a checkpoint is a fine-tune of a base, told from headers and settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exme.tasks.errors import ShapeMismatch, UserError

from .checkpoint import Checkpoint, tied_names

# Keys of config.json that decide what the weights mean. Others (names of classes, versions,
# defaults for generation) may differ between a base and its fine-tunes.
_ARCHITECTURE_KEYS = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "tie_word_embeddings",
    "rms_norm_eps",
)


def check_fit(base: Checkpoint, checkpoint: Checkpoint, *, union: bool = False) -> None:
    """Refuse a checkpoint that is not a fine-tune of `base`, by name, from headers alone.

    Args:
        base: the base.
        checkpoint: the checkpoint.
        union: their vocabularies have been merged, and need not be the same.

    Raises:
        UserError: another architecture, vocabulary, dtype kind, or a missing or additional tensor.
        ShapeMismatch: a tensor of another shape.
    """
    who = f"checkpoint '{checkpoint.name}'"
    settings, others = _architecture(base.config), _architecture(checkpoint.config)
    for key in settings:
        if key in others and settings[key] != others[key]:
            raise UserError(
                f"{who}: {key} is {others[key]!r}, the base's is {settings[key]!r}; a merge needs "
                f"checkpoints fine-tuned from this base"
            )
    tied = tied_names(base)
    ours, theirs = set(base.tensors) - tied, set(checkpoint.tensors) - tied
    for name in sorted(ours - theirs):
        raise UserError(f"{who}: tensor '{name}' of the base is missing")
    for name in sorted(theirs - ours):
        raise UserError(f"{who}: tensor '{name}' is not in the base")
    for name in sorted(ours):
        mine, other = base.tensors[name], checkpoint.tensors[name]
        if mine.shape != other.shape:
            raise ShapeMismatch(
                f"{who}: tensor '{name}' has shape {list(other.shape)}, the base's has "
                f"{list(mine.shape)}"
            )
        if mine.is_float != other.is_float:
            raise UserError(f"{who}: tensor '{name}' is {other.dtype}, the base's is {mine.dtype}")
    if not union:
        _check_vocabulary(base, checkpoint)


def _architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that decide what the weights mean, as far as config.json states them."""
    settings = {key: config[key] for key in _ARCHITECTURE_KEYS if config.get(key) is not None}
    # transformers 5 keeps the rotary base in `rope_parameters`, earlier ones beside it.
    rope = config.get("rope_parameters")
    nested = rope.get("rope_theta") if isinstance(rope, dict) else None
    theta = config.get("rope_theta", nested)
    return settings if theta is None else settings | {"rope_theta": theta}


def tokens_of(folder: Path) -> Mapping[str, int] | None:
    """Token strings and their ids from tokenizer.json; None where there is no such file."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    from tokenizers import Tokenizer  # noqa: PLC0415

    try:
        found: dict[str, int] = Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    except Exception as error:  # noqa: BLE001  (the library raises plain Exception)
        raise UserError(f"{path}: not a tokenizer ({error})") from None
    return found


def _check_vocabulary(base: Checkpoint, checkpoint: Checkpoint) -> None:
    ours, theirs = tokens_of(base.folder), tokens_of(checkpoint.folder)
    if ours is None or theirs is None or ours == theirs:
        return
    changed = sorted(t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t))
    token = changed[0]
    raise UserError(
        f"checkpoint '{checkpoint.name}': another vocabulary than the base's: token {token!r} has "
        f"id {theirs.get(token)}, in the base {ours.get(token)} ({len(changed)} tokens differ); "
        f"their embeddings are merged by token string only with `vocabulary: union`"
    )
