"""An input that lm-eval would ask otherwise by itself is named: another tokenizer, other generation settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.helpers.malformed.given import good_folder, set_key
from tests.helpers.models.adapters import PLAIN, make_adapter
from tests.helpers.models.small_models import edit_json
from tests.helpers.searches.probed import settle


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    good_folder(tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def settings(folder: Path, **changes: object) -> None:
    """Write generation settings beside those of the model."""
    path = folder / "models/math/generation_config.json"
    path.write_text(json.dumps({"eos_token_id": 2, **changes}))


def begun(folder: Path) -> None:
    """Have the tokenizer of ``math`` put a token before a text, as lm-eval then has it before every prompt."""
    before = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }  # fmt: skip
    edit_json(folder / "models/math/tokenizer.json", post_processor=before)


def test_a_tokenizer_that_reads_prompts_otherwise_is_named(folder: Path) -> None:
    begun(folder)
    ids = []
    for name in ("base", "math"):
        place = folder / "models" / name
        model = AutoModelForCausalLM.from_pretrained(place)
        plain = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(place))
        ids.append(plain.tok_encode("w1 w2"))
    assert ids[1] == [1, *ids[0]]
    said, compared = settle()
    assert said == (
        "Input math is asked as all candidates are, with the base's tokenizer and generation settings; by itself, "
        "its tokenizer makes other tokens of 4 of 4 prompts."
    )
    assert compared.startswith("Inputs as their own models")
    assert settle() == []  # it was said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eos_token_id": [2, 5]}, "eos_token_id: [2, 5] (the base's: 2)"),
        ({"repetition_penalty": 1.3}, "repetition_penalty: 1.3 (the base's: None)"),
    ],
    ids=str,
)
def test_generation_settings_that_change_answers_are_named(
    folder: Path, changes: dict[str, object], said: str
) -> None:
    settings(folder, **changes)
    assert f"by itself, its generation_config has {said}." in settle()[0]


@pytest.mark.parametrize(
    "changes", [{"temperature": 0.6, "top_p": 0.9, "do_sample": True}, {"eos_token_id": [2]}]
)
def test_what_greedy_answers_do_not_depend_on_is_not(
    folder: Path, changes: dict[str, object]
) -> None:
    settings(folder, **changes)
    assert len(settle()) == 1


def test_a_tokenizer_that_cannot_be_read_is_not_needed(folder: Path) -> None:
    (folder / "models/math/tokenizer_config.json").write_text("[]")
    assert len(settle()) == 1


# Tokenizers -------------------------------------------------------------------------------------------


def retemplate(folder: Path, name: str, template: str) -> None:
    own = AutoTokenizer.from_pretrained(folder / "models" / name)
    own.chat_template = template
    own.save_pretrained(folder / "models" / name)


LOUD = "{% for m in messages %}<s>{{ m['content'] }}{% endfor %}"
QUIET = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"


@pytest.mark.parametrize(("chats", "others"), [(True, LOUD), (True, QUIET), (False, LOUD)])
def test_another_chat_template_is_named_where_it_is_used(
    folder: Path, chats: bool, others: str
) -> None:
    for name, template in (("base", QUIET), ("math", others), ("code", QUIET)):
        retemplate(folder, name, template)
    set_key("chat", {"apply_chat_template": chats})(folder)
    lines = settle()
    if not chats or others == QUIET:
        assert len(lines) == 1
    else:
        assert lines[0].endswith("by itself, its tokenizer has another chat template.")


def test_a_tokenizer_beside_an_adapter_is_looked_at_too(folder: Path) -> None:
    for name in ("base", "math", "code"):
        retemplate(folder, name, QUIET)
    make_adapter(folder / "models/base", folder / "models/other", **PLAIN)
    shutil.copy(folder / "models/base/tokenizer.json", folder / "models/other")
    shutil.copy(folder / "models/base/tokenizer_config.json", folder / "models/other")
    retemplate(folder, "other", LOUD)
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study |= {"checkpoints": {"other": "models/other"}, "chat": {"apply_chat_template": True}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    assert settle()[0].startswith("Input other is asked as all candidates are")


def test_another_end_token_is_named(folder: Path) -> None:
    edit_json(folder / "models/math/tokenizer_config.json", eos_token="<unk>")
    stops = []
    for name in ("base", "math"):
        place = folder / "models" / name
        plain = HFLM(
            pretrained=AutoModelForCausalLM.from_pretrained(place),
            tokenizer=AutoTokenizer.from_pretrained(place),
        )
        stops.append(plain.tok_decode(plain.eot_token_id, skip_special_tokens=False))
    assert stops == ["</s>", "<unk>"]
    assert settle()[0].endswith(
        "by itself, answers end at its tokenizer's '<unk>' (the base's: '</s>')."
    )
