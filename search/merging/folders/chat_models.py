"""Whether a model was trained to answer in a conversation, by the files of its tokenizer and its generation settings.

A chat template alone does not tell: some bases bring that of their instruct models. A model that was trained on one ends its answers
with the token that ends a turn there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS, TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
# What a template calls the tokenizer's own last token.
_EOS = re.compile(r"\beos_token\b")


@dataclass(frozen=True)
class ChatTemplate:
    """A model's chat template.

    Attributes:
        ends: tokens at which its answers end.
        ends_turns: one of them ends a turn of the template.
    """

    ends: tuple[str, ...]
    ends_turns: tuple[str, ...]

    @property
    def is_instruct(self) -> bool:
        """Whether the model was trained on it, as far as its files tell."""
        return bool(self.ends_turns)


def chat_template_of(folder: Path) -> ChatTemplate | None:
    """The chat template in a model's folder; None where there is none."""
    settings, text = _json(folder / SETTINGS), template_text(folder)
    if not text:
        return None
    own = _content(settings.get("eos_token"))
    names = _names(folder, settings)
    config = _json(folder / "generation_config.json") or _json(folder / "config.json")
    given = config.get("eos_token_id")
    numbers = given if isinstance(given, list) else [given]
    ends = tuple(dict.fromkeys(filter(None, map(names.get, numbers)))) or (own,) * bool(own)
    turns = tuple(end for end in ends if end in text or (end == own and _EOS.search(text)))
    return ChatTemplate(ends, turns)


def template_text(folder: Path) -> str:
    """A model's chat template, from its own file or the tokenizer's settings; empty where none is applied by default."""
    if own := _text(folder / TEMPLATE):
        return own
    found = _json(folder / SETTINGS).get("chat_template")
    if isinstance(found, list):  # several by name
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else ""


def _names(folder: Path, settings: dict[str, Any]) -> dict[int, str]:
    """The tokenizer's added tokens by number."""
    found = {}
    decoder = settings.get("added_tokens_decoder")
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        if str(number).isdigit():
            found[int(number)] = _content(token)
    added = _json(folder / "tokenizer.json").get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            found[token["id"]] = _content(token)
    return found


def _content(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, of which whoever loads the tokenizer says more."""
    try:
        found = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
