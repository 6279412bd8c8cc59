"""Every input is scored as itself, or the search does not start; what is odd about one is said before it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from exme.search.merging.sources import adapter, adapter_settings
from exme.search.opening import likeness
from exme.search.running.search import open_search
from exme.search.study.study_file import load_study_file
from exme.tasks.errors import UserError
from tests.helpers.malformed.given import good_folder, set_key
from tests.helpers.models.adapters import PLAIN, make_adapter
from tests.helpers.models.small_models import edit_json, turn
from tests.helpers.searches.probed import offs, settle


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    good_folder(tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


# As itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_input_is_compared_with_its_own_model_before_the_first_trial(
    folder: Path, dtype: str
) -> None:
    set_key("dtype", dtype)(folder)
    (line,) = settle()
    assert f"at most {1 if dtype == 'float32' else 5}% of their spread" in line
    assert offs(line) == {"base": 0, "math": 0, "code": 0}


def test_an_adapter_is_compared_with_pefts_model(folder: Path) -> None:
    make_adapter(folder / "models/base", folder / "models/other", **PLAIN)
    set_key("checkpoints", {"math": "models/math", "other": "models/other"})(folder)
    (line,) = settle()
    assert offs(line).keys() == {"base", "math", "other"}
    assert 0 < offs(line)["other"] < 5  # (the merge is rounded, peft's sum is not)


@pytest.mark.parametrize("wrong", [1.0, 1.2], ids=["as it is", "another scale"])
def test_what_rounding_alone_takes_from_an_adapter_is_no_reason_to_refuse_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    make_adapter(folder / "models/base", folder / "models/other", **PLAIN)
    set_key("checkpoints", {"math": "models/math", "other": "models/other"})(folder)
    (line,) = settle()
    # A real LoRA on a real base in bfloat16 lost 20% of its logits' spread; here it is the limit that is low.
    monkeypatch.setattr(likeness, "ROUNDED", offs(line)["other"] / 200)
    (folder / "runs").rename(folder / "before")
    scale = adapter_settings.scale_of
    monkeypatch.setattr(adapter, "scale_of", lambda *given: wrong * scale(*given))
    if wrong == 1.0:
        (line,) = settle()
        assert offs(line)["other"] == 0
    else:
        with pytest.raises(
            UserError, match="checkpoint 'other': made from coefficients, it is not"
        ):
            settle()


def test_a_search_with_an_adapter_ends_in_a_report(folder: Path) -> None:
    make_adapter(folder / "models/base", folder / "models/other", **PLAIN)
    set_key("checkpoints", {"math": "models/math", "other": "models/other"})(folder)
    with open_search(load_study_file(Path("study.yaml")), "own", runs="runs") as search:
        assert [entry.name for entry in search.run().inputs] == ["base", "math", "other"]


def test_an_input_of_another_vocabulary_is_compared_on_the_tokens_that_it_has(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder / "models/math")
    model.resize_token_embeddings(64)
    model.save_pretrained(folder / "models/math")
    set_key("vocabulary", "union")(folder)
    line = settle()[-1]
    assert offs(line) == {"base": 0, "math": 0, "code": 0}


def test_what_no_list_of_settings_knows_of_is_found_by_the_logits(folder: Path) -> None:
    turn(folder)
    assert offs(settle()[0]) == {"base": 0, "math": 0, "code": 0}
    turn(folder, sharpness=1.5)
    ids = torch.arange(4, 9)[None]
    logits = AutoModelForCausalLM.from_pretrained(folder / "models/math")(ids).logits
    edit_json(folder / "models/math/config.json", sharpness=1.0)
    plain = AutoModelForCausalLM.from_pretrained(folder / "models/math")(ids).logits
    torch.testing.assert_close(logits, 1.5 * plain)
    turn(folder, sharpness=1.5)
    with pytest.raises(
        UserError, match=r"'math': made from coefficients, it is not the model of its own"
    ):
        settle()


def test_what_was_found_equal_is_remembered_by_fingerprint(folder: Path) -> None:
    assert len(settle()) == 1
    assert settle() == []
    edit_json(folder / "models/math/config.json", note="another file")
    assert offs(settle()[0]).keys() == {"math"}


# What is odd --------------------------------------------------------------------------------------


@pytest.mark.parametrize("twin", ["models/math", "models/../models/math", "models/base"])
def test_a_folder_that_is_named_twice_is_refused(folder: Path, twin: str) -> None:
    set_key("checkpoints", {"math": "models/math", "other": twin})(folder)
    with pytest.raises(UserError, match=r"'other': .* is the same folder as '(math|base)'"):
        settle()


def test_it_is_said_before_the_first_trial(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(
        folder / "models/code/model.safetensors", folder / "models/math/model.safetensors"
    )
    with open_search(load_study_file(Path("study.yaml")), "own", runs="runs") as search:
        search.run()
    lines = capsys.readouterr().out.splitlines()
    (said,) = (i for i, line in enumerate(lines) if "are the same, weight for weight" in line)
    assert said < next(i for i, line in enumerate(lines) if line.startswith("#0"))
