"""Where models are found, and one clear line where they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.utils._paths import filter_repo_objects

from exme.search.merging.sources import location as module
from exme.search.merging.sources.location import is_hub_id, locate, mini_names, public_names
from exme.tasks.errors import UserError


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of mini models: base, sums, products."""
    models = tmp_path / "models"
    for name in ("base", "products", "sums"):
        (models / name).mkdir(parents=True)
        (models / name / "config.json").write_text("{}")
    (models / "notes").mkdir()
    monkeypatch.setattr(module, "MODELS", models)
    return models


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A hub that remembers what it was asked and answers, or raises ``answer``."""
    asked: dict[str, Any] = {"answer": str(tmp_path)}

    def download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        if isinstance(asked["answer"], Exception):
            raise asked["answer"]
        return str(asked["answer"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(module, "hub_is_reachable", lambda: True)
    return asked


def response_error(kind: type[Exception]) -> Exception:
    """One of the hub's errors without the response it wants."""
    error = kind.__new__(kind)
    error.args = ("404 Client Error.\nRequest ID: 1",)
    return error


def test_mini_models_are_found_by_name(mini: Path) -> None:
    assert mini_names() == ["mini/base", "mini/products", "mini/sums"]
    assert locate("mini/sums", who="base") == mini / "sums"


def test_a_misspelt_mini_model_is_refused_with_the_nearest_name(mini: Path) -> None:
    with pytest.raises(UserError) as caught:
        locate("mini/sum", who="checkpoint 'sums'")
    assert str(caught.value) == (
        "checkpoint 'sums': no mini model 'mini/sum' (have: mini/base, mini/products, mini/sums); "
        "did you mean 'mini/sums'?"
    )


def test_a_mini_name_cannot_leave_its_folder(mini: Path) -> None:
    with pytest.raises(UserError, match="no mini model"):
        locate("mini/../models/base", who="base")


def test_a_folder_is_found_from_here_and_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("models/a", who="base") == Path("models/a")
    assert locate("~/models/a", who="base") == tmp_path / "models" / "a"
    assert locate(str(tmp_path), who="base") == tmp_path


def test_a_folder_goes_before_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: dict[str, Any]
) -> None:
    (tmp_path / "owner" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate("owner/model", who="base") == Path("owner/model")
    assert not is_hub_id("owner/model")
    assert "repository" not in hub


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(UserError, match="is a file; give the folder that holds it"):
        locate(str(tmp_path / "model.safetensors"), who="base")


@pytest.mark.parametrize("name", ["./gone", "/gone/model", "~/gone", "a/b/c", "gone", "a b/c", ""])
def test_a_missing_folder_that_is_no_hub_id_is_refused(name: str, hub: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^base: (no folder|.* is a file)"):
        locate(name or "gone", who="base")
    assert "repository" not in hub


@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        ("owner/model", None, None),
        ("owner/model@v1.0", None, "v1.0"),
        ("owner/model@refs/pr/3", None, "refs/pr/3"),
        ("owner/model", "main", "main"),
        ("owner/model@v1.0", "main", "v1.0"),
    ],
)
def test_a_model_on_the_hub_is_downloaded_at_its_revision(
    hub: dict[str, Any], tmp_path: Path, name: str, revision: str | None, expected: str | None
) -> None:
    assert is_hub_id(name)
    assert locate(name, who="base", revision=revision) == tmp_path
    assert (hub["repository"], hub["revision"]) == ("owner/model", expected)


def test_what_is_downloaded_are_weights_and_what_an_export_needs_and_no_pickles(
    hub: dict[str, Any],
) -> None:
    locate("owner/model", who="base")
    wanted = [
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.json",
        "merges.txt",
        "chat_template.jinja",
        "LICENSE",
        "LICENSE.txt",
        "README.md",
    ]
    unwanted = [
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "model.pt",
        "optimizer.pth",
        "training_args.bin",
        "consolidated.safetensors",
        "original/consolidated.00.pth",
        "original/model.safetensors",
        "onnx/model.onnx",
        "model.gguf",
        "flax_model.msgpack",
    ]
    kept = filter_repo_objects(
        [*wanted, *unwanted],
        allow_patterns=hub["allow_patterns"],
        ignore_patterns=hub["ignore_patterns"],
    )
    assert list(kept) == wanted


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (response_error(errors.RepositoryNotFoundError), "the hub has no such model, or it is pr"),
        (response_error(errors.RevisionNotFoundError), "the model has no revision 'v9'"),
        (response_error(errors.GatedRepoError), "its owner asks for a licence to be accepted"),
        (errors.LocalEntryNotFoundError("Got: no route\nmore"), "Got: no route; check the network"),
        (TimeoutError(), "TimeoutError; check the network"),
    ],
)
def test_what_the_hub_refuses_is_one_clear_line(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    hub["answer"] = error
    with pytest.raises(UserError) as caught:
        locate("owner/model@v9", who="checkpoint 'math'")
    message = str(caught.value)
    assert message.startswith("checkpoint 'math': cannot get 'owner/model@v9' from the hub, nor is")
    assert expected in message
    assert "\n" not in message


def test_offline_is_one_clear_line(tmp_path: Path) -> None:
    """The real client, in a process that was told to stay offline."""
    code = "from exme.search.merging.sources.location import locate\nlocate('nobody/nothing', who='base')"
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": _path()}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True
    )
    assert found.stderr.splitlines()[-1].endswith(
        "base: cannot get 'nobody/nothing' from the hub, nor is it a folder here: HF_HUB_OFFLINE "
        "is set and the model is not in the cache; unset it, or give a folder"
    )


def _path() -> str:
    return ":".join(path for path in sys.path if path)


def test_a_name_that_the_locale_cannot_write_is_said_to_be_that() -> None:
    code = (
        "from exme.search.merging.sources.location import locate\n"
        "from exme.tasks.errors import UserError\n"
        "try: locate('models/mod\\xe8le', who='base')\n"
        "except UserError as error: print(error)\n"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | plain,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        "base: 'models/mod\\xe8le' cannot be named here: Python writes file names in ascii"
        in found.stdout
    )


def test_places_are_told_without_the_folders_above_them(tmp_path: Path) -> None:
    places = {
        "base": "owner/base@v1",
        "a": f"{tmp_path}/gsm/checkpoint-500",
        "b": f"{tmp_path}/mmlu/checkpoint-500/",
        "c": "~/runs/checkpoint-900",
        "d": "../checkpoint-100",
        "mini": "mini/sums",
    }
    assert public_names(places) == {
        "base": "owner/base@v1",
        "a": "./gsm/checkpoint-500",
        "b": "./mmlu/checkpoint-500",
        "c": "./checkpoint-900",
        "d": "./checkpoint-100",
        "mini": "mini/sums",
    }
