"""The recipe, retrained small, and the committed models against their record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.tasks.mini import MODEL_NAMES, MODELS
from exme.tasks.mini.training.presets import TINY
from exme.tasks.mini.training.saving import digests
from exme.tasks.mini.training.scoring import combine
from exme.tasks.mini.training.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("mini")
    return folder, train(TINY, folder)


@pytest.mark.slow
def test_the_loss_falls_in_every_stage(trained: tuple[Path, dict[str, Any]]) -> None:
    stages = trained[1]["stages"]
    assert stages["base"]["losses"][-1] < 0.8 * stages["first"]["losses"][0]
    assert stages["sums"]["losses"][-1] < stages["base"]["losses"][0]
    assert stages["products"]["losses"][-1] < stages["base"]["losses"][0]


def test_the_three_folders_load_with_the_same_shapes_and_tokenizer(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    folder = trained[0]
    states = []
    for name in MODEL_NAMES:
        model = AutoModelForCausalLM.from_pretrained(folder / name, dtype="auto")
        assert model.dtype == torch.bfloat16
        assert model.config.tie_word_embeddings
        states.append({key: tensor.shape for key, tensor in model.state_dict().items()})
    assert states[0] == states[1] == states[2]
    files = [(folder / name / "tokenizer.json").read_bytes() for name in MODEL_NAMES]
    assert files[0] == files[1] == files[2]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert train(TINY, tmp_path)["sha256"] == trained[1]["sha256"]


def test_the_record_says_how_the_models_were_made(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, record = trained
    assert json.loads((folder / "record.json").read_text())["sha256"] == record["sha256"]
    for field in ("seed", "recipe", "parameters", "versions", "search_scores", "sha256"):
        assert field in record
    for stage in record["stages"].values():
        assert stage["tokens"] > 0
        assert stage["steps"] > 0
        assert stage["seconds"] > 0


def test_combining_with_one_and_zero_gives_back_a_checkpoint() -> None:
    base, one, two = ({"w": torch.full((3,), v)} for v in (1.0, 3.0, 5.0))
    assert torch.equal(combine(base, [one, two], [1.0, 0.0])["w"], one["w"])
    assert torch.equal(combine(base, [one, two], [0.5, 0.5])["w"], torch.full((3,), 4.0))


def test_the_committed_models_are_those_of_the_record() -> None:
    record = json.loads((MODELS / "record.json").read_text(encoding="utf-8"))
    assert digests(MODELS) == record["sha256"]


def test_the_committed_tokenizer_splits_digits_and_adds_nothing() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "base")
    text = "Question: Tom has 123 apples.\nAnswer: é #### 42"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert not {tokenizer.bos_token_id, tokenizer.eos_token_id} & set(ids)
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert {"1", "2", "3"} <= set(tokens)
    assert not [token for token in tokenizer.get_vocab() if re.search(r"\d\d", token)]
    assert tokenizer.eos_token == "</s>"
    assert tokenizer.pad_token == "<pad>"


def test_no_file_of_the_models_names_a_machine_path() -> None:
    for path in MODELS.rglob("*.json"):
        assert not re.search(r"/(home|tmp|work|root)/", path.read_text(encoding="utf-8")), path
