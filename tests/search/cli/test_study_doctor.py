"""`exme doctor STUDY`: what would go wrong in a search, found without one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from exme.search.cli import study_doctor
from exme.search.cli.doctor import ABSENT, BROKEN, OK, Finding
from exme.search.cli.main import app
from exme.search.cli.study_doctor import examine_study
from exme.search.running import Screen
from tests.helpers.malformed.given import SUITE, good_folder, set_key, write
from tests.helpers.models.own_tasks import CHOICE, lossy, write_suite
from tests.helpers.models.small_models import edit_json, make_model, turn


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = good_folder(tmp_path / "study")
    monkeypatch.chdir(found)
    return found


def examined() -> dict[str, Finding]:
    screen = Screen(Console(quiet=True))
    return {found.name: found for found in examine_study(Path("study.yaml"), None, screen)}


def test_everything_of_a_good_study_is_tried_and_its_run_is_not_begun(folder: Path) -> None:
    set_key("max_gen_toks", 30)(folder)
    found = examined()
    assert found.keys() == {
        "study", "hub, for this study", "metric of own", "documents of own", "memory",
        "disk, for this study", "input base", "input math", "input code", "checkpoints",
        "chat template", "few-shot examples of own", "answers of own", "scores of own",
    }  # fmt: skip
    assert not [each for each in found.values() if each.state == BROKEN]
    assert found["metric of own"].detail == "exact_match,flexible-extract: higher is better"
    assert "differ by 0.00% of their spread" in found["input math"].detail
    assert all(each.remedy for each in found.values() if each.state != OK)
    assert not (folder / "runs").exists()


def rows(folder: Path, split: str, questions: list[str]) -> None:
    lines = [json.dumps({"question": q, "answer": f"w1 #### {i}"}) for i, q in enumerate(questions)]
    (folder / "data" / "own" / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


def examples(folder: Path) -> None:
    own = SUITE | {"fewshot": {"count": 1, "split": "train"}, "search": {"split": "test"}}
    (folder / "own.yaml").write_text(json.dumps(own))
    rows(folder, "train", ["how many w1 are there?", *(f"w{i} w2?" for i in range(7))])
    rows(folder, "test", ["how many w1 are there?"] * 8)


def in_two_parts(folder: Path) -> None:
    for split in ("train", "test"):
        rows(folder, split, [f"w{i} w2?" for i in range(6)])


def choices(folder: Path, task: dict[str, Any] = CHOICE) -> None:
    """A task of four choices, of which one is right by chance."""
    suite = write_suite(folder / "choices", task)
    study = folder / "study.yaml"
    content = yaml.safe_load(study.read_text()) | {
        "suites": [str(suite.path)], "data": str(suite.folder / "data"),
        "documents": {"search": 20, "report": 4}, "max_gen_toks": None,
    }  # fmt: skip
    study.write_text(yaml.safe_dump(content))


def half_of_code(folder: Path) -> None:
    """Another checkpoint that has gone half of the way of one that is there."""
    weights = [load_file(folder / f"models/{name}/model.safetensors") for name in ("base", "code")]
    base, code = weights
    half = {name: (base[name] + tensor) / 2 for name, tensor in code.items()}
    save_file(half, folder / "models/math/model.safetensors", {"format": "pt"})


def guesses(folder: Path) -> None:
    choices(folder)
    make_model(folder / "models/math", seed=9)


def raising(folder: Path) -> None:
    choices(folder)
    tasks = folder / "choices" / "tasks"
    (tasks / "functions.py").write_text("def broken(doc, results):\n    raise KeyError('gold')\n")
    task = yaml.safe_load((tasks / "own.yaml").read_text())
    text = yaml.safe_dump(task | {"process_results": "!function functions.broken"})
    (tasks / "own.yaml").write_text(
        text.replace("'!function functions.broken'", "!function functions.broken")
    )


CASES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "a setting": (
        lambda f: edit_json(f / "models/math/config.json", rms_norm_eps=0.5),
        "study", BROKEN, "rms_norm_eps is 0.5, the base's is 1e-06",
    ),
    "what no list of settings knows of": (
        lambda f: turn(f, sharpness=1.5),
        "input math", BROKEN, "made from coefficients, it is not the model of its own folder",
    ),
    "a metric the wrong way": (
        write("own.yaml", json.dumps(SUITE | {"higher_is_better": False})),
        "study", BROKEN, "higher_is_better is false, and lm-eval task 'gsm8k' says true",
    ),
    "a metric that is a loss": (
        lambda f: choices(f, lossy("nll")), "metric of own", OK, "nll,none: lower is better, so a search lowers it",
    ),
    "a metric that raises": (
        raising, "study", BROKEN, "the metric raised KeyError on document train/",
    ),
    "scores that are all the same": (
        lambda f: None, "scores of own", ABSENT, "all inputs score the same: base 0, code 0, math 0",
    ),
    "scores that are guesses": (
        guesses, "scores of own", ABSENT, "guessing gives 0.25",
    ),
    "a model of the hub": (
        set_key("base", "nobody/model"), "study", BROKEN, "cannot get 'nobody/model' from the hub",
    ),
    "an end token of its own": (
        write("models/math/generation_config.json", json.dumps({"eos_token_id": [2, 5]})),
        "asking math", ABSENT, "eos_token_id: [2, 5] (the base's: 2)",
    ),
    "a copy": (
        lambda f: shutil.copyfile(
            f / "models/code/model.safetensors", f / "models/math/model.safetensors"
        ),
        "checkpoints", ABSENT, "'code' and 'math' are the same, weight for weight",
    ),
    "fine-tunes that go the same way": (
        half_of_code, "checkpoints", OK, "go nearly the same way (cosine 1.00)",
    ),
    "a storage that does not open": (
        set_key("storage", "sqlite:////dev/null/study.db"), "storage", BROKEN, "/dev/null/study.db",
    ),
    "documents in two parts": (
        in_two_parts,
        "documents of own", ABSENT, "read the same in two parts",
    ),
    "answers that are cut": (
        set_key("max_gen_toks", 1), "answers of own", ABSENT, "(limit 1 tokens)",
    ),
    "a chat template that is not used": (
        lambda f: (f / "models/math/chat_template.jinja").write_text("{{ messages }}"),
        "chat template", ABSENT, "math have one, and prompts are plain",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_would_go_wrong_is_found_with_a_remedy(folder: Path, case: str) -> None:
    change, name, state, expected = CASES[case]
    change(folder)
    found = examined()[name]
    assert (found.state, bool(found.remedy)) == (state, state != OK)
    assert expected in found.detail


def test_too_little_memory_and_disk_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=1000))
    few = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=2**20))
    monkeypatch.setattr(study_doctor, "shutil", full)
    monkeypatch.setattr(study_doctor, "psutil", few)
    found = examined()
    memory, disk = found["memory"], found["disk, for this study"]
    assert (memory.state, disk.state) == (ABSENT, ABSENT)
    assert "1 MB are free" in memory.detail and "residence: mapped" in memory.remedy
    assert "1000 B are free here" in disk.detail and "make room" in disk.remedy


def test_a_study_that_cannot_be_read_is_a_finding_among_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_key("tirals", 3)(folder)
    machine = Finding("machine", OK, "as it is")
    monkeypatch.setattr("exme.search.cli.doctor.examine", lambda runs: iter([machine]))
    result = CliRunner().invoke(app, ["doctor", "study.yaml", "--json"])
    assert result.exit_code == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["name"], each["state"]) for each in found] == [("machine", OK), ("study", BROKEN)]
    assert "study.yaml: unknown key 'tirals'" in found[1]["detail"]


def test_a_study_that_is_not_there_is_told_at_once(folder: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "studi.yaml"])
    assert str(result.exception) == "studi.yaml: no such study file; `exme init` writes one"


def test_a_prompt_that_shows_its_own_question_is_found(folder: Path) -> None:
    examples(folder)
    found = examined()
    assert found["few-shot examples of own"].state == BROKEN
    assert "hold their own question twice" in found["few-shot examples of own"].detail
