"""Study files: what is accepted, and how what is not is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from exme.search.study.older import as_now
from exme.search.study.study_file import StudyFile, load_study_file
from exme.tasks.errors import UserError
from tests.helpers.places import ROOT

MINIMAL = "base: mini/base\ncheckpoints: {sums: mini/sums, products: mini/products}\n"
STUDIES = ROOT / "studies"


def load(tmp_path: Path, text: str) -> StudyFile:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_study_file(path)


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda p: p.name)
def test_every_study_that_ships_is_valid(path: Path) -> None:
    assert load_study_file(path).checkpoints


def test_a_minimal_study_gets_the_documented_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXME_DATA", raising=False)
    study = load(tmp_path, MINIMAL)
    assert (study.method, study.data, study.sampler.name) == ("exme", "hub", "auto")
    assert study.space.coefficients == (0.0, 2.4)
    assert (study.budget.trials, study.budget.gain) == (60, 0.5)
    assert study.trust_remote_code is False


def test_the_environment_names_the_data_where_the_file_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXME_DATA", "somewhere")
    assert load(tmp_path, MINIMAL).data == "somewhere"
    assert load(tmp_path, MINIMAL + "data: hub\n").data == "somewhere"
    assert load(tmp_path, MINIMAL + "data: mini\n").data == "mini"


REFUSED = {
    "misspelt key": (
        MINIMAL + "chekpoints: {}\n",
        "unknown key 'chekpoints' (have: base, checkpoints",
        "did you mean 'checkpoints'?",
    ),
    "misspelt nested key": (
        MINIMAL + "budget: {trails: 3}\n",
        "unknown key 'budget.trails' (have: trials, documents, minutes, hours, gain)",
        "did you mean 'trials'?",
    ),
    "no base": ("checkpoints: {a: mini/sums}\n", "key 'base' is missing", ""),
    "no checkpoints": ("base: mini/base\ncheckpoints: {}\n", "checkpoints", "at least 1"),
    "unknown suite": (MINIMAL + "suites: [gsmk8]\n", "no suite 'gsmk8'", "did you mean 'gsm8k'?"),
    "unknown method": (
        MINIMAL + "method: slurp\n",
        "method: no method 'slurp'",
        "did you mean 'slerp'?",
    ),
    "bounds the wrong way round": (
        MINIMAL + "space: {coefficients: [2, 1]}\n",
        "expected [low, high] with low < high",
        "",
    ),
    "bounds beyond their limits": (
        MINIMAL + "space: {coefficients: [0, 50]}\n",
        "expected bounds within -5 and 30",
        "",
    ),
    "a text for a number": (MINIMAL + "budget: {trials: many}\n", "budget.trials", "'many'"),
    "yes for a number": (MINIMAL + "budget: {trials: yes}\n", "budget.trials", "found True"),
    "yes among numbers": (
        MINIMAL + "space: {coefficients: [0, yes]}\n",
        "space.coefficients: input should be a number",
        "",
    ),
    "an hour and a half": (MINIMAL + "budget: {hours: 1:30}\n", "budget.hours", "found '1:30'"),
    "no trials": (MINIMAL + "budget: {trials: 0}\n", "budget.trials", "found 0"),
    "no budget at all": (MINIMAL + "budget: {}\n", "budget: set at least one of", ""),
    "cmaes for a front": (
        MINIMAL + "sampler: cmaes\ngoal: pareto\nsuites: [gsm8k, bbh]\n",
        "sampler: cmaes searches for one value",
        "gp or tpe",
    ),
    "expo of two": (MINIMAL + "method: expo\n", "exactly one checkpoint, found 2", "exme"),
    "linear of one": (
        "base: mini/base\ncheckpoints: {a: mini/sums}\nmethod: linear\n",
        "method 'linear' averages checkpoints, found one",
        "expo",
    ),
    "a reserved name": ("base: b\ncheckpoints: {merged: c}\n", "checkpoint name 'merged'", ""),
    "a name with a slash": ("base: b\ncheckpoints: {a/b: c}\n", "checkpoint name 'a/b'", ""),
    "a name of two lines": ('base: b\ncheckpoints: {"a\\nb": c}\n', r"checkpoint name 'a\nb'", ""),
    "a key given twice": (MINIMAL + "base: other\n", "key 'base' is given twice", "line 3"),
    "a list": ("- base\n- checkpoints\n", "expected keys and values, found list", ""),
    "nothing": ("", "expected keys and values, found NoneType", ""),
    "not YAML": ("base: [unclosed\n", "not readable as YAML", ""),
    "a Python object": (
        MINIMAL + "data: !!python/object/apply:os.system [ls]\n",
        "not readable as YAML",
        "python/object",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    text, *expected = REFUSED[case]
    with pytest.raises(UserError) as refusal:
        load(tmp_path, text)
    message = str(refusal.value)
    assert message.startswith(str(tmp_path / "mine.yaml"))
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such study file; `exme init` writes one"):
        load_study_file(tmp_path / "absent.yaml")


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00base")
    with pytest.raises(UserError, match="not readable as YAML"):
        load_study_file(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("measure: target_nll", ""),
        ("objective: target_nll", "`objective` is called `measure` now"),
        (
            "space: {coefficients: [0, 1], widen: true, limits: [-5, 30]}",
            "space.widen and space.limits do nothing now",
        ),
    ],
)
def test_a_study_of_before_is_read_as_what_it_means_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"base: mini/base\ncheckpoints: {{sums: mini/sums}}\n{line}\n")
    study = load_study_file(path)
    if "space" in line:
        assert study.space.coefficients == (0.0, 1.0)
    else:
        assert study.measure == "target_nll"
    told = capsys.readouterr().err
    assert said in told and bool(told) == bool(said)


def test_a_study_that_was_kept_with_an_older_run_is_read_too() -> None:
    kept = StudyFile(base="mini/base", checkpoints={"sums": "mini/sums"}, method="expo")
    older = kept.model_dump(mode="json")
    older["objective"] = older.pop("measure")
    older["space"] |= {"widen": False, "limits": [-5, 30]}
    found, told = as_now(older)
    assert StudyFile.model_validate(found) == kept and len(told) == 2
    assert as_now(kept.model_dump(mode="json")) == (kept.model_dump(mode="json"), [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"checkpoints": ["mini/sums"]},
            r"^checkpoints: input should be a valid dictionary, found \[",
        ),
        ({"trails": 3}, r"^unknown key 'trails' \(have: base, "),
        ({"racing": {"on": 1}}, r"^unknown key 'racing.on' \(have: error_rate, "),
        ({"budget": {"trials": "many"}}, r"^budget.trials: input should be a valid integer"),
        ({"method": "tie"}, r"^method: no method 'tie' .*did you mean 'ties'"),
        ({"starts": [{"sum": 1.0}]}, r"^starts: .*'sum'"),
        ({"checkpoints": {"run": "nowhere", "best": 9}}, r"^checkpoints.best: expected 1 to"),
    ],
)
def test_a_study_of_python_is_refused_in_the_line_that_a_file_gets(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    content: dict[str, Any] = {"base": "mini/base", "checkpoints": {"sums": "mini/sums"}} | given
    with pytest.raises(UserError, match=said) as caught:
        StudyFile(**content)
    line = str(caught.value)
    assert "\n" not in line
    with pytest.raises(UserError) as caught:
        StudyFile.model_validate(content)
    assert str(caught.value) == line
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(UserError) as caught:
        load_study_file(path)
    assert str(caught.value) == f"{path}: {line}"
