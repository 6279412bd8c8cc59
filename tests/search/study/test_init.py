"""`exme init`: a study file that can be used as it is, or no file at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.study.init import name_checkpoints, run_of, write_study
from exme.search.study.study_file import StudyFile, load_study_file
from exme.search.study.training_run import NO_KEY
from exme.tasks.errors import UserError
from tests.helpers.models.adapters import PLAIN, make_adapter
from tests.helpers.models.small_models import edit_json, edit_weights, make_family, make_model
from tests.helpers.models.training_runs import make_training_run


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_family(tmp_path_factory.mktemp("family"))


def checkpoints(family: dict[str, Path]) -> dict[str, str]:
    return {name: str(folder) for name, folder in family.items() if name != "base"}


# The file -----------------------------------------------------------------------------------------


def test_what_is_written_is_a_study_of_these_models(
    family: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "studies" / "mine.yaml"
    write_study(path, str(family["base"]), checkpoints(family), "gsm8k")
    study = load_study_file(path)
    assert study.base == str(family["base"])
    assert dict(study.checkpoints) == checkpoints(family)
    assert study.method == "exme"
    assert study.suites == ("gsm8k",)
    assert study.data == "hub"


def test_every_key_is_written_with_its_default(family: dict[str, Path], tmp_path: Path) -> None:
    write_study(tmp_path / "mine.yaml", str(family["base"]), checkpoints(family))
    raw = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert raw.keys() == StudyFile.model_fields.keys() - {NO_KEY}
    plain = StudyFile(base=raw["base"], checkpoints=raw["checkpoints"])
    assert StudyFile.model_validate(raw) == plain


def test_every_section_is_commented(family: dict[str, Path], tmp_path: Path) -> None:
    write_study(tmp_path / "mine.yaml", str(family["base"]), checkpoints(family))
    lines = (tmp_path / "mine.yaml").read_text().splitlines()
    keys = [i for i, line in enumerate(lines) if line and line[0].isalpha()]
    for i in keys:
        around = lines[max(0, i - 4) : i + 3]
        assert any("#" in line for line in around), lines[i]
    assert max(len(line) for line in lines if "/" not in line) <= 100


def test_one_checkpoint_is_extrapolated(family: dict[str, Path], tmp_path: Path) -> None:
    one = {"math": str(family["math"])}
    write_study(tmp_path / "mine.yaml", str(family["base"]), one)
    assert load_study_file(tmp_path / "mine.yaml").method == "expo"


def test_mini_models_search_on_mini_documents(
    family: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exme.search.merging.sources.location.MODELS", family["base"].parent)
    names = {"math": "mini/math", "code": "mini/code"}
    write_study(tmp_path / "mine.yaml", "mini/base", names)
    assert load_study_file(tmp_path / "mine.yaml").data == "mini"


def test_the_answer_says_what_fits_and_what_to_type_next(
    family: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    said = write_study(path, str(family["base"]), checkpoints(family)).splitlines()
    assert said[0] == f"base: {family['base']}, 0.0M parameters in bfloat16"
    assert said[1].startswith("math: ")
    assert said[1].endswith("fits the base")
    assert said[-3] == f"    make search STUDY={path} TASK=gsm8k"
    assert said[-1] == f"    exme search {path} --task gsm8k"


def test_an_adapter_is_told_as_one(family: dict[str, Path], tmp_path: Path) -> None:
    adapter = make_adapter(family["base"], tmp_path / "adapter", **PLAIN)
    said = write_study(tmp_path / "mine.yaml", str(family["base"]), {"mine": str(adapter)})
    assert f"mine: {adapter}, a LoRA adapter of rank 4, fits the base" in said.splitlines()


def test_the_command_takes_several_suites_and_a_place_of_their_documents(
    family: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    models = ["--base", str(family["base"]), "--checkpoint", str(family["math"])]
    result = CliRunner().invoke(
        app, ["init", str(path), *models, "--task", "gsm8k,mmlu", "--data", "mini"]
    )
    assert result.exit_code == 0, result.output
    study = load_study_file(path)
    assert (study.suites, study.data) == (("gsm8k", "mmlu"), "mini")
    assert f"    exme search {path} --task gsm8k,mmlu" in result.output.splitlines()


@pytest.mark.parametrize("where", ["a: b", "#x", "null", "1e3", "it's", 'a"b', "über", "- a", "{"])
def test_any_folder_name_is_read_back_as_it_was(
    family: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(where).symlink_to(family["math"])
    write_study("mine.yaml", str(family["base"]), {"math": where})
    assert load_study_file(Path("mine.yaml")).checkpoints["math"] == where


# Nothing is written -------------------------------------------------------------------------------


def test_an_existing_file_is_kept_without_force(family: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    with pytest.raises(UserError, match="exists already; --force replaces it"):
        write_study(path, str(family["base"]), checkpoints(family))
    assert path.read_text() == "precious"
    write_study(path, str(family["base"]), checkpoints(family), force=True)
    assert load_study_file(path).base == str(family["base"])


def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_written(
    family: dict[str, Path], tmp_path: Path
) -> None:
    other = make_model(tmp_path / "other", near=family["base"])
    edit_weights(other, extra__weight=torch.ones(1))
    with pytest.raises(UserError, match=r"'other': tensor 'extra\.weight' is not in the base"):
        write_study(tmp_path / "new" / "mine.yaml", str(family["base"]), {"other": str(other)})
    assert not (tmp_path / "new").exists()


def test_weights_are_not_loaded_for_the_check(
    family: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "exme.search.merging.sources.checkpoint.Checkpoint.load", lambda self: pytest.fail("read")
    )
    write_study(tmp_path / "mine.yaml", str(family["base"]), checkpoints(family))


@pytest.mark.parametrize(
    ("path", "base", "names", "task", "message"),
    [
        ("mine.txt", "base", {"math": "math"}, "gsm8k", "a study file ends in .yaml"),
        ("base", "base", {"math": "math"}, "gsm8k", "is a folder; give the name of a file"),
        ("m.yaml", "base", {"math": "math"}, "gsm8", "no suite 'gsm8'.*did you mean 'gsm8k'"),
        ("m.yaml", "base", {"base": "math"}, "gsm8k", "name 'base': expected letters"),
        ("m.yaml", "base", {"method": "math"}, "gsm8k", "name 'method': expected letters"),
        ("m.yaml", "base", {"a b": "math"}, "gsm8k", "name 'a b': expected letters"),
        ("m.yaml", "base", {}, "gsm8k", "no checkpoint given"),
        ("m.yaml", "base", {"m": "gone"}, "gsm8k", "checkpoint 'm': no folder gone"),
        ("m.yaml", "gone", {"m": "math"}, "gsm8k", "base: no folder gone"),
        ("m.yaml", "base", {"m": "base"}, "gsm8k", "'m': base is the same folder as 'base'"),
        ("m.yaml", "base", {"a": "math", "b": "./math"}, "gsm8k", "'b': .* same folder as 'a'"),
        ("math/config.json/m.yaml", "base", {"m": "math"}, "gsm8k", "cannot be written"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    family: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    base: str,
    names: dict[str, str],
    task: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("base", "math"):
        Path(name).symlink_to(family[name])
    with pytest.raises(UserError, match=message):
        write_study(path, base, names, task)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "math"]


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["owner/Qwen-Math", "owner/code@v1"], ["Qwen-Math", "code"]),
        (["math=owner/x", "y=./folder"], ["math", "y"]),
        (
            ["runs/a/checkpoint-500", "runs/b/checkpoint-500"],
            ["checkpoint-500", "b-checkpoint-500"],
        ),
        (["x/base"], ["x-base"]),
        (["mini/sums", "mini/products"], ["sums", "products"]),
        (["./a b!c", "/models/über/"], ["a-b-c", "ber"]),
        (["a/m", "a/m@v2", "a/m@v3"], ["m", "a-m", "m-2"]),
        (["runs/lr=3e-4"], ["lr-3e-4"]),
        (["/"], ["checkpoint"]),
        (["x/merged", "base"], ["x-merged", "base-2"]),
        (["x/vocabulary"], ["x-vocabulary"]),
        (["x/method"], ["x-method"]),
    ],
)
def test_checkpoints_are_named_after_their_folders(given: list[str], expected: list[str]) -> None:
    assert list(name_checkpoints(given)) == expected


def test_where_a_checkpoint_is_stays_as_it_was_given() -> None:
    given = ["math=owner/x@v1", "runs/lr=3e-4"]
    assert list(name_checkpoints(given).values()) == ["owner/x@v1", "runs/lr=3e-4"]


@pytest.mark.parametrize(
    ("given", "message"),
    [(["a=x/y", "a=x/z"], "name 'a' is given twice"), (["a="], "'a': nothing after '='")],
)
def test_names_that_cannot_be_told_apart_are_refused(given: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        name_checkpoints(given)


# A training run, chat models -----------------------------------------------------------------------


def test_a_training_run_is_written_as_one_and_its_checkpoints_told(tmp_path: Path) -> None:
    run = make_training_run(tmp_path / "run")
    said = write_study(tmp_path / "mine.yaml", "mini/base", {}, run=f"{run}/checkpoint-*")
    study = load_study_file(tmp_path / "mine.yaml")
    assert study.training_run is not None and study.training_run.best == 2
    assert list(study.checkpoints) == [f"checkpoint-{step}" for step in (100, 200, 300, 400)]
    assert "checkpoint-300: " in said and "fits the base; step 300, loss 1.1" in said


def test_a_run_stands_alone() -> None:
    assert run_of("run", []) == ("run", [])
    assert run_of(None, ["run/checkpoint-*"]) == ("run/checkpoint-*", [])
    assert run_of(None, ["a", "name=b"]) == (None, ["a", "name=b"])
    for run, given in (("run", ["a"]), (None, ["run/*", "a"]), ("run", ["run/*"])):
        with pytest.raises(UserError, match="a training run stands alone"):
            run_of(run, given)


TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"


@pytest.mark.parametrize(
    ("having", "template", "applied", "said"),
    [
        (["base", "math"], TEMPLATE, True, "apply_chat_template: true (an instruct base: turns"),
        (["math"], TEMPLATE, False, "math was trained on a chat template, and the base's"),
        (["base"], "{{ messages }}", False, "taken for a plain model"),
        ([], "", False, "Wrote"),
    ],
)
def test_instruct_models_are_noticed(
    family: dict[str, Path],
    tmp_path: Path,
    having: list[str],
    template: str,
    applied: bool,
    said: str,
) -> None:
    folders = {}
    for name, folder in family.items():
        folders[name] = tmp_path / name
        shutil.copytree(folder, folders[name])
        settings = {"eos_token": "</s>", **({"chat_template": template} if name in having else {})}
        edit_json(folders[name] / "tokenizer_config.json", **settings)
    told = write_study(tmp_path / "mine.yaml", str(folders["base"]), checkpoints(folders))
    assert said in told
    study = load_study_file(tmp_path / "mine.yaml")
    assert study.chat.apply_chat_template == applied
    line = next(x for x in (tmp_path / "mine.yaml").read_text().splitlines() if "apply_chat" in x)
    assert ("# an instruct base" in line) == applied
