"""An input's own model stands beside the live one: on its own device map, or not at all and said so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import pytest
import torch

from exme.search.merging import NoRoom, resident
from exme.search.opening import own_model
from exme.tasks.errors import UserError
from tests.helpers.malformed.given import good_folder, set_key
from tests.helpers.models.adapters import PLAIN, make_adapter
from tests.helpers.models.small_models import edit_json
from tests.helpers.searches.probed import offs, settle


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    good_folder(tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def with_adapter(folder: Path) -> None:
    make_adapter(folder / "models/base", folder / "models/other", **PLAIN)
    set_key("checkpoints", {"math": "models/math", "other": "models/other"})(folder)


def test_a_study_over_several_devices_has_each_input_on_a_map_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []

    def offload(model: Any) -> None:
        moved.append(type(model).__name__)
        accelerate.cpu_offload(model, execution_device=torch.device("cpu"))

    with_adapter(folder)
    study = folder / "study.yaml"
    study.write_text(study.read_text().replace("device: cpu", "device: spread"))
    monkeypatch.setattr(resident, "spread", offload)
    monkeypatch.setattr(own_model, "spread", offload)
    (line,) = settle()
    assert moved == ["LlamaForCausalLM"] * 3 + ["PeftModelForCausalLM"]
    assert offs(line).items() >= {"base": 0, "math": 0}.items()
    assert 0 < offs(line)["other"] < 5


def test_an_input_for_which_memory_is_too_short_is_left_out_with_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=100))
    monkeypatch.setattr(own_model, "psutil", few)
    lines = settle()
    assert len(lines) == 3
    assert all("was not compared: its own model takes" in line for line in lines)
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert offs(settle()[0]).keys() == {"base", "math", "code"}  # nothing was taken for granted


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("load_model", MemoryError()),
        ("load_model", torch.OutOfMemoryError("CUDA out of memory")),
        ("spread", NoRoom("device 'spread': parts of the live model fit nowhere")),
    ],
    ids=["memory", "a GPU's memory", "any device"],
)
def test_an_input_that_turns_out_not_to_fit_is_left_out_with_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    set_key("device", "spread")(folder)
    monkeypatch.setattr(own_model, where, full)
    lines = settle()
    assert {line.split(" was not")[0] for line in lines} == {
        "Input base",
        "Input math",
        "Input code",
    }
    assert len(lines) == 3
    assert all("there is no room for its own model beside the live one (" in line for line in lines)


def test_an_error_that_is_not_of_memory_is_none_of_these(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(own_model, "load_model", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        settle()


def test_an_adapter_that_peft_cannot_load_is_refused_in_one_line(folder: Path) -> None:
    with_adapter(folder)
    edit_json(folder / "models/other/adapter_config.json", target_modules=["nothing"])
    with pytest.raises(UserError, match=r"'other': peft cannot load .* \(\w+: Target modules"):
        settle()
