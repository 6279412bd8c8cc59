"""`exme doctor STUDY`: what would go wrong in a search, found without one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exme.search.cli.doctor import ABSENT, BROKEN, OK, Finding
from exme.search.cli.study_doctor import examine_study
from tests.helpers.malformed.given import SUITE, good_folder, set_key
from tests.helpers.models.small_models import edit_json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = good_folder(tmp_path / "study")
    monkeypatch.chdir(found)
    return found


def examined() -> dict[str, Finding]:
    return {
        found.name: found for found in examine_study(Path("study.yaml"), None, lambda note: None)
    }


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


CASES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "a setting": (
        lambda f: edit_json(f / "models/math/config.json", rms_norm_eps=0.5),
        "study", BROKEN, "rms_norm_eps is 0.5, the base's is 1e-06",
    ),
    "a copy": (
        lambda f: shutil.copyfile(
            f / "models/code/model.safetensors", f / "models/math/model.safetensors"
        ),
        "checkpoints", ABSENT, "'code' and 'math' are the same, weight for weight",
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
    assert (found.state, bool(found.remedy)) == (state, True)
    assert expected in found.detail


def test_a_prompt_that_shows_its_own_question_is_found(folder: Path) -> None:
    examples(folder)
    found = examined()
    assert found["few-shot examples of own"].state == BROKEN
    assert "hold their own question twice" in found["few-shot examples of own"].detail
