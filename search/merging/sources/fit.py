"""Whether a checkpoint is a fine-tune of a base, told from headers and settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exme.tasks import ShapeMismatch, UserError

from .checkpoint import Checkpoint, tied_names
from .settings import differences

Shape = tuple[int, ...]


def check_fit(base: Checkpoint, checkpoint: Checkpoint, *, union: bool = False) -> None:
    """Refuse a checkpoint that is not a fine-tune of `base`, by name, from headers alone.

    Args:
        union: their vocabularies have been merged, and need not be the same.

    Raises:
        UserError: another architecture, vocabulary, dtype kind, or a missing or additional tensor.
        ShapeMismatch: a tensor of another shape.
    """
    who = f"checkpoint '{checkpoint.name}'"
    _check_settings(base, checkpoint)
    tied = tied_names(base)
    ours, theirs = set(base.tensors) - tied, set(checkpoint.tensors) - tied
    for name in sorted(ours - theirs):
        raise UserError(f"{who}: tensor '{name}' of the base is missing{_prefixed(ours, theirs)}")
    for name in sorted(theirs - ours):
        raise UserError(f"{who}: tensor '{name}' is not in the base")
    for name in sorted(ours):
        mine, other = base.tensors[name], checkpoint.tensors[name]
        if mine.shape != other.shape:
            raise ShapeMismatch(
                f"{who}: tensor '{name}' has shape {list(other.shape)}, the base's has "
                f"{list(mine.shape)}{_rows(base, mine.shape, other.shape)}"
            )
        if mine.is_float != other.is_float:
            raise UserError(f"{who}: tensor '{name}' is {other.dtype}, the base's is {mine.dtype}")
    if not union:
        _check_vocabulary(base, checkpoint)


def _check_settings(base: Checkpoint, checkpoint: Checkpoint) -> None:
    """A candidate is made with the base's settings: a checkpoint's must not mean other weights."""
    found = list(differences(base.settings, checkpoint.settings))
    if not found:
        return
    key, ours, theirs = found[0]
    more = f", and {', '.join(k for k, _, _ in found[1:4])} differ, too" if found[1:] else ""
    raise UserError(
        f"checkpoint '{checkpoint.name}': {key} is {theirs!r}, the base's is {ours!r}{more}; a merge needs "
        f"checkpoints fine-tuned from this base, and is scored with the base's settings. Where its weights are "
        f"meant to be read with those, put them into {checkpoint.folder / 'config.json'}"
    )


def _prefixed(ours: set[str], theirs: set[str]) -> str:
    """A word on names that differ by what they begin with."""
    for few, many, whose in ((ours, theirs, "its"), (theirs, ours, "the base's")):
        alone, others = min(few - many, default=""), many - few
        prefixes = (name.removesuffix(alone) for name in others if alone and name.endswith(alone))
        for prefix in prefixes:
            if all(prefix + name in others for name in few - many):
                return (
                    f": {whose} tensors' names begin with '{prefix}', which the other's lack; load both by "
                    f"transformers and save them again, or rename the tensors"
                )
    return ""


def _rows(base: Checkpoint, mine: Shape, other: Shape) -> str:
    """A word on another number of rows where each stands for a token."""
    if mine[1:] != other[1:] or mine[0] != base.config.get("vocab_size"):
        return ""
    return ": rows for other tokens, or padding; with `vocabulary: union` rows are told by token string"


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
