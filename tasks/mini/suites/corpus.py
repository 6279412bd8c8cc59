"""What the mini models are trained on: documents of a prompt and its target, whatever suite made them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Document:
    """One training document; the text is `prompt + target`.

    Attributes:
        prompt: everything a model is shown, such as "Question: ...\\nAnswer:".
        target: what it should say next, its leading space included.
        kind: the part of the suite it belongs to.
        ends: whether it is always followed by the end of the sequence.
        weight: weight of a token of the target in the loss.
    """

    prompt: str
    target: str
    kind: str
    ends: bool = False
    weight: float = 1.0


def normalised(text: str) -> str:
    """Return `text` in lower case with single spaces: two texts equal here count as one problem."""
    return " ".join(text.lower().split())


def write_json_lines(rows: Iterable[Mapping[str, object]], path: Path) -> None:
    """Write one JSON object a line, UTF-8, "\\n" on every system, so that bytes can be compared."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def read_json_lines(path: Path) -> list[dict[str, str]]:
    """Read what `write_json_lines` wrote (columns of text only)."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
