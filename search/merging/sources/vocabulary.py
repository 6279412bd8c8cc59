"""The union of vocabularies, where a study asks for it: rows of embeddings are told by token string.

The base's tokens keep their ids; tokens that only checkpoints have follow them, in the order of the
checkpoints' names. A row that a source does
not have is copied, so that its delta says nothing of that token:

- the base's, from the checkpoint that has it, or from the mean of those that have it;
- a checkpoint's, from the base.

These are mergekit's defaults for `tokenizer_source: union`, too. Rows that stand for no token (padding)
stay what they are.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from exme.tasks import UserError

from .adapter import Adapter, LowRank
from .checkpoint import Checkpoint, read_json
from .fit import tokens_of
from .weight_files import on_disk

TOKENIZER = "tokenizer.json"
REPORT = "exme_vocabulary.json"
_FILES = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
          "chat_template*")  # fmt: skip
_NAMED = re.compile(
    r"(embed_tokens|embed_in|embed_out|wte|word_embeddings|lm_head)\.(weight|bias)$"
)
_SHOWN = 6  # tokens that a sentence names
_ROWS = 4096  # copied at a time


def vocabulary_tensors(checkpoint: Checkpoint) -> list[str]:
    """The tensors that have a row for every token: embeddings and output layer."""
    size = checkpoint.config.get("vocab_size")
    return [
        name
        for name, spec in checkpoint.tensors.items()
        if _NAMED.search(name) and spec.shape[:1] == (size,)
    ]


class Union:
    """The union of a base's vocabulary and its checkpoints'.

    Args:
        checkpoints: whole models by name; adapters have the base's vocabulary.

    Raises:
        UserError: a vocabulary is not known, or its tokens cannot be added to the base's tokenizer.
    """

    def __init__(self, base: Checkpoint, checkpoints: Mapping[str, Checkpoint]) -> None:
        self._base, self._checkpoints = base, dict(sorted(checkpoints.items()))
        self._ids = {"base": _tokens(base)}
        self._ids |= {name: _tokens(checkpoint) for name, checkpoint in self._checkpoints.items()}
        self._settings = read_json(base.folder / TOKENIZER)
        self._added, self._plain = self._new_tokens()
        first = max(self._ids["base"].values()) + 1
        new = [*self._plain, *self._added]
        self.ids = dict(self._ids["base"]) | {token: first + i for i, token in enumerate(new)}
        self.rows = max(_rows(base), max(self.ids.values()) + 1)
        self._index = {name: self._index_of(name) for name in self._ids}

    @property
    def changes(self) -> bool:
        """Whether it is another vocabulary than the base's, ids differ, or numbers of rows."""
        same = torch.arange(self.rows)
        rows = {_rows(source) for source in (self._base, *self._checkpoints.values())}
        return len(rows) > 1 or any(not torch.equal(i, same) for i in self._index.values())

    def _new_tokens(self) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """Added tokens with their settings, and plain ones, that only checkpoints have; in order."""
        added: dict[str, dict[str, Any]] = {}
        plain: list[str] = []
        for name, checkpoint in self._checkpoints.items():
            given = read_json(checkpoint.folder / TOKENIZER).get("added_tokens") or []
            settings = {entry["content"]: entry for entry in given}
            for token in self._ids[name]:
                if token in self._ids["base"] or token in added or token in plain:
                    continue
                if token in settings:
                    added[token] = settings[token]
                    continue
                if not self._takes_plain():
                    raise UserError(
                        f"checkpoint '{name}': its token {token!r} is part of its tokenizer's own "
                        f"vocabulary, to which the base's tokenizer cannot be extended; only tokens "
                        f"that were added to a tokenizer can be, so leave this checkpoint out"
                    )
                plain.append(token)
        return added, plain

    def _takes_plain(self) -> bool:
        """Whether a token can follow the tokenizer's own: a table by token, nothing behind it."""
        own = self._settings["model"].get("vocab")
        return isinstance(own, dict) and set(own) == set(self._ids["base"])

    def _index_of(self, source: str) -> torch.Tensor:
        """For every row of the union the row of a source, or -1."""
        ids, tokens = self._ids[source], {i: token for token, i in self.ids.items()}
        have, taken = _rows(self._checkpoints.get(source, self._base)), set(ids.values())
        index = torch.full((self.rows,), -1)
        for row in range(self.rows):
            if row in tokens:
                index[row] = ids.get(tokens[row], -1)
            elif row < have and row not in taken:  # padding in both
                index[row] = row
        return index

    def rows_of(self, source: str) -> torch.Tensor:
        """For every row of the union an input's own, or -1; an adapter's are the base's."""
        return self._index.get(source, self._index["base"])

    # Weights -------------------------------------------------------------------------------------

    def base_rows(self, tensor: str) -> torch.Tensor:
        """The base's tensor with a row for every token of the union."""
        own = self._base.tensor(tensor)
        found = _taken(own, self._index["base"])
        for row in (self._index["base"] < 0).nonzero().flatten().tolist():
            have = [
                checkpoint.tensor(tensor)[index[row]].float()
                for name, checkpoint in self._checkpoints.items()
                if (index := self._index[name])[row] >= 0
            ]
            found[row] = torch.stack(have).mean(0) if have else 0
        return found

    def checkpoint_rows(self, name: str, tensor: str, base: torch.Tensor) -> torch.Tensor:
        """A checkpoint's tensor likewise; `base` is what `base_rows` gives."""
        index = self._index[name]
        found = _taken(self._checkpoints[name].tensor(tensor), index)
        missing = index < 0
        found[missing] = base[missing].to(found.dtype)
        return found

    # Words ---------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the table: which token has which id, and whose row is where."""
        text = json.dumps([self.ids, {n: index.tolist() for n, index in self._index.items()}])
        return hashlib.sha256(text.encode()).hexdigest()

    def origins(self, token: str) -> dict[str, str]:
        """Where each source's row of a token comes from."""
        row = self.ids[token]
        have = [name for name in self._checkpoints if self._index[name][row] >= 0]
        told = {"base": f"row {self._index['base'][row]}"}
        if self._index["base"][row] < 0:
            told["base"] = have[0] if len(have) == 1 else f"mean of {', '.join(have)}"
        for name, index in self._index.items():
            if name != "base":
                told[name] = f"row {index[row]}" if index[row] >= 0 else "base"
        return told

    @property
    def report(self) -> list[str]:
        """What was copied from where, a sentence for the union and for each checkpoint."""
        new = list(self.ids)[len(self._ids["base"]) :]
        told = [f"{t!r} (id {self.ids[t]}, the base's row: {self.origins(t)['base']})" for t in new]
        lines = [
            (
                f"Vocabularies are merged by token string: the base's {len(self._ids['base'])} tokens keep "
                f"their ids, {len(new)} are added{': ' if new else ''}{_some(told)}."
            )
        ]
        for name in self._checkpoints:
            ids = self._ids[name]
            missing = [repr(token) for token in self.ids if token not in ids]
            moved = sum(ids[t] != self.ids[t] for t in ids)
            lines.append(
                f"{name}: {len(missing)} tokens are not in it and have the base's rows"
                f"{': ' if missing else ''}{_some(missing)}; {moved} have other ids there."
            )
        return lines

    def write(self, folder: Path) -> None:
        """Write the union's tokenizer, and the whole table of what was copied from where."""
        for pattern in _FILES:
            for file in self._base.folder.glob(pattern):
                shutil.copyfile(file, folder / file.name)
        settings = json.loads(json.dumps(self._settings))
        if self._plain:
            settings["model"]["vocab"] |= {token: self.ids[token] for token in self._plain}
        settings["added_tokens"] = [
            *(settings.get("added_tokens") or []),
            *({**entry, "id": self.ids[token]} for token, entry in self._added.items()),
        ]
        (folder / TOKENIZER).write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
        table = {
            token: {"id": row, **self.origins(token)}
            for token, row in self.ids.items()
            if any(index[row] != row for index in self._index.values())
        }
        text = json.dumps({"rows": self.rows, "tokens": table}, indent=1, ensure_ascii=False)
        (folder / REPORT).write_text(text + "\n", encoding="utf-8")


class WidenedCheckpoint(Checkpoint):
    """The base or a checkpoint with a row for every token of a union."""

    def __init__(self, origin: Checkpoint, union: Union, base: Checkpoint | None = None) -> None:
        super().__init__(origin.name, origin.folder)
        self._union, self._origin_base = union, base
        self._wide: dict[str, torch.Tensor | None] = dict.fromkeys(vocabulary_tensors(origin))
        self.config = {**self.config, "vocab_size": union.rows}
        for name in self._wide:
            spec = self.tensors[name]
            self.tensors[name] = replace(spec, shape=(union.rows, *spec.shape[1:]))

    def tensor(self, name: str) -> torch.Tensor:
        """See `Checkpoint.tensor`; a widened one is made once and kept on disk."""
        if name not in self._wide:
            return super().tensor(name)
        found = self._wide[name]
        if found is None:
            if self._origin_base is None:
                found = self._union.base_rows(name)
            else:
                base = self._origin_base.tensor(name)
                found = self._union.checkpoint_rows(self.name, name, base)
            self._wide[name] = found
        return found


class WidenedAdapter(Adapter):
    """An adapter on a widened base: tokens that are new to it have the base's rows."""

    def __init__(self, origin: Adapter, base: Checkpoint, narrow: Checkpoint) -> None:
        super().__init__(origin.name, origin.folder, narrow)
        self._wide, self._names = base, set(vocabulary_tensors(narrow))
        self.tensors = base.tensors

    def tensor(self, name: str) -> torch.Tensor | LowRank | None:
        """See `Adapter.tensor`."""
        found = super().tensor(name)
        if name not in self._names or found is None:
            return found
        wide = self._wide.tensor(name)
        if isinstance(found, LowRank):
            left = found.left.new_zeros(wide.shape[0], found.left.shape[1])
            left[: found.left.shape[0]] = found.left
            return LowRank(left, found.right, found.scale)
        return torch.cat([found, wide[found.shape[0] :].to(found.dtype)])


def _taken(tensor: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows of a tensor, on disk; where the index is -1, any."""
    found = on_disk((len(index), *tensor.shape[1:]), tensor.dtype)
    for start in range(0, len(index), _ROWS):
        part = slice(start, start + _ROWS)
        found[part] = tensor[index[part].clamp(min=0)]
    return found


def _rows(checkpoint: Checkpoint) -> int:
    names = vocabulary_tensors(checkpoint)
    if not names:
        raise UserError(
            f"checkpoint '{checkpoint.name}': no embedding with a row for each of its "
            f"{checkpoint.config.get('vocab_size')} tokens; vocabularies cannot be merged"
        )
    return checkpoint.tensors[names[0]].shape[0]


def _tokens(checkpoint: Checkpoint) -> Mapping[str, int]:
    found = tokens_of(checkpoint.folder)
    if found is None:
        raise UserError(
            f"checkpoint '{checkpoint.name}': {checkpoint.folder / TOKENIZER} is missing; "
            f"`vocabulary: union` tells tokens by it"
        )
    if max(found.values()) >= _rows(checkpoint):
        raise UserError(
            f"checkpoint '{checkpoint.name}': its tokenizer has a token with id "
            f"{max(found.values())}, its embedding {_rows(checkpoint)} rows; save it again"
        )
    return dict(sorted(found.items(), key=lambda entry: entry[1]))


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
