"""An instruct model is told from a base that brings a chat template, by how its answers end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exme.search.merging.folders.chat_models import chat_template_of

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OWN = "{% for m in messages %}[INST] {{ m.content }} [/INST]{{ eos_token }}{% endfor %}"
ADDED = {
    "added_tokens": [{"id": 5, "content": "<|endoftext|>"}, {"id": 6, "content": "<|im_end|>"}]
}


def model(folder: Path, **files: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.{'jinja' if name == 'chat_template' else 'json'}").write_text(text)
    return folder


# How models of these kinds are published.
PUBLISHED: dict[str, tuple[dict[str, Any], bool]] = {
    "an instruct model, several ends": (
        {
            "tokenizer_config": {"chat_template": CHATML, "eos_token": "<|im_end|>"},
            "tokenizer": ADDED,
            "generation_config": {"eos_token_id": [6, 5]},
        },
        True,
    ),
    "a base with the same template": (
        {
            "tokenizer_config": {"chat_template": CHATML, "eos_token": "<|endoftext|>"},
            "tokenizer": ADDED,
            "generation_config": {"eos_token_id": 5},
        },
        False,
    ),
    "a template in a file of its own, tokens in the decoder": (
        {
            "chat_template": CHATML,
            "tokenizer_config": {"added_tokens_decoder": {"6": {"content": "<|im_end|>"}}},
            "generation_config": {"eos_token_id": 6},
        },
        True,
    ),
    "turns that end as the tokenizer says": (
        {"tokenizer_config": {"chat_template": OWN, "eos_token": {"content": "</s>"}}},
        True,
    ),
    "several templates by name": (
        {
            "tokenizer_config": {
                "chat_template": [{"name": "default", "template": OWN}],
                "eos_token": "</s>",
            }
        },
        True,
    ),
    "config.json alone": (
        {
            "tokenizer_config": {"chat_template": CHATML},
            "tokenizer": ADDED,
            "config": {"eos_token_id": 6},
        },
        True,
    ),
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_an_instruct_model_ends_its_answers_as_turns_end(tmp_path: Path, kind: str) -> None:
    files, expected = PUBLISHED[kind]
    found = chat_template_of(model(tmp_path, **files))
    assert found is not None and found.is_instruct == expected


def test_without_a_template_there_is_nothing_to_apply(tmp_path: Path) -> None:
    assert chat_template_of(tmp_path) is None
    assert chat_template_of(model(tmp_path, tokenizer_config={"eos_token": "</s>"})) is None
    assert chat_template_of(model(tmp_path, tokenizer_config="{")) is None
