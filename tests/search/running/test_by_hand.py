"""A merge that a person names: scored as the search scores, kept in the study, built as a model and as a folder."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.running.search import open_search
from exme.search.study.study_file import StudyFile
from exme.search.trials.budget import spent
from exme.tasks.errors import UserError
from exme.tasks.mini import MODELS
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import Opened, close, study_file

SAMPLERS = ["auto", "gp", "tpe", "cmaes", "qmc", "random"]
PLACE = {"sums": 0.7, "products": 2.0}


def write(folder: Path, **changed: Any) -> Path:
    content = {
        "base": "mini/base",
        "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
        "data": "mini",
        "documents": {"search": 8, "report": 8},
        "budget": {"trials": 4},
        "max_gen_toks": 16,
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content | changed, sort_keys=False))
    return path


def merged(point: dict[str, float]) -> dict[str, torch.Tensor]:
    """base + sum of c (checkpoint - base), in float64: by hand."""
    tensors = {name: load_file(MODELS / name / "model.safetensors") for name in ("base", *point)}
    found = {}
    for name, base in tensors["base"].items():
        if base.is_floating_point():
            moved = (c * (tensors[who][name].double() - base.double()) for who, c in point.items())
            found[name] = base.double() + sum(moved)
    return found


@pytest.mark.parametrize("racing", ["on", "off"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_score_by_hand_is_kept_counted_and_gone_on_from(
    tmp_path: Path, sampler: str, racing: str
) -> None:
    opened = Opened(tmp_path, sampler={"name": sampler}, racing=racing, budget={"trials": 9})
    far = {"sums": 3.5, "products": -0.5}  # beyond the study's bounds
    for point in (PLACE, far):
        trial = opened.search.score(point)
        expected = opened.landscape.share(point)
        values = trial.scores.values if trial.scores else ()
        assert len(values) == 128 and abs(sum(values) / 128 - expected) < 0.15
        assert (trial.origin, trial.state, trial.documents) == ("by hand", "complete", 128)
    calls = len(opened.landscape.calls)
    again = opened.search.score({"products": 2, "sums": 0.7})
    assert again.number == 0 and len(opened.landscape.calls) == calls  # known already
    assert spent(opened.search.trials)[:2] == (2, 256)
    opened.search.work()
    assert spent(opened.search.trials)[0] == 9
    assert len({t.candidate.digest for t in opened.search.trials if t.candidate}) == 9
    close(opened)


def test_what_was_scored_in_part_is_scored_on_the_rest_alone(tmp_path: Path) -> None:
    opened = Opened(tmp_path, sampler={"name": "auto"}, racing="on", budget={"documents": 700})
    opened.search.work()
    part = next(t for t in opened.search.trials if t.scores is None and t.race_log and t.candidate)
    assert part.candidate is not None and part.race_log is not None
    trial = opened.search.score(part.candidate.coefficients)
    assert trial.scores is not None and trial.scores.count == 128
    seen = max(
        t.race_log.partial.count
        for t in opened.search.trials
        if t.race_log and t.candidate and t.candidate.digest == part.candidate.digest
    )
    assert 0 < trial.documents <= 128 - part.race_log.partial.count and seen <= 128
    whole = Landscape(opened.search.documents, PEAK).score(part.candidate, "search").scores
    assert trial.scores.values == whole.values
    close(opened)


def test_a_score_by_hand_may_win_and_is_proved(tmp_path: Path) -> None:
    opened = Opened(tmp_path, racing="off", budget={"trials": 6})
    opened.search.score(PEAK)
    outcome = opened.search.run()
    assert outcome.winner is not None and outcome.winner.origin == "by hand"
    assert outcome.merged is not None and outcome.verdict.state == "proved"
    close(opened)


@pytest.mark.parametrize(
    ("changed", "given", "message"),
    [
        ({}, {"sum": 0.7}, "'sum' is neither a checkpoint .*did you mean 'sums'"),
        ({}, {"sums": "much"}, "'sums' is 'much', expected a number"),
        ({}, {"sums": math.inf}, "'sums' is inf, expected a number"),
        ({}, {"sums": True}, "'sums' is True, expected a number"),
        ({"method": "ties"}, {"density": 1.5}, "'density' is 1.5, expected 0.05 to 1"),
        ({"method": "linear"}, {"sums": 0.5}, "makes weighted means"),
        ({"method": "ties"}, {"method": "tie"}, "method 'tie' .*did you mean 'ties'"),
    ],
)
def test_what_cannot_be_scored_is_refused_and_nothing_kept(
    tmp_path: Path, changed: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    opened = Opened(tmp_path, **changed)
    for ask in (opened.search.score, opened.search.build):
        with pytest.raises(UserError, match=message):
            ask(given)
    assert not opened.search.trials
    with pytest.raises(UserError, match=r"'sum' is not among .*did you mean 'sums'"):
        opened.search.candidate({"sum": 0.7})
    close(opened)


def test_a_model_is_built_beside_the_searchs_own(tmp_path: Path) -> None:
    with open_search(write(tmp_path), runs=tmp_path / "runs") as search:
        scored = search.score({"sums": 1.0}).scores
        model, tokenizer = search.build(PLACE)
        assert search.score({"sums": 1.0}).scores == scored
        held = search.worker.resident.state_dict()  # type: ignore[attr-defined]  # a Worker
    made, expected = model.state_dict(), merged(PLACE)
    for name, tensor in expected.items():
        torch.testing.assert_close(made[name].double(), tensor, rtol=2**-8, atol=1e-6)
    assert any(not torch.equal(held[name].float(), made[name]) for name in held)
    assert tokenizer("2 + 2").input_ids


def test_build_writes_what_from_pretrained_loads(tmp_path: Path) -> None:
    words = [
        "build",
        str(write(tmp_path)),
        "sums=0.7",
        "products=2",
        "--out",
        str(tmp_path / "out"),
    ]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.exception
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("mine.yaml", "out")] == []
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, tensor in merged(PLACE).items():
        found = model.state_dict()[name]
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.double(), tensor, rtol=2**-8, atol=1e-6)
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, UserError)  # the folder is taken


def test_the_command_scores_shows_and_keeps(tmp_path: Path) -> None:
    runs = ["--runs", str(tmp_path / "runs")]
    study, said = str(write(tmp_path)), []
    for extra in ([], [], ["--json"]):
        ran = CliRunner().invoke(app, ["score", study, "sums=0.7", "products=2", *runs, *extra])
        assert ran.exit_code == 0, ran.exception
        said.append(ran.output)
    assert "sums 0.70 products 2.00" in said[0] and "8 documents" in said[0]
    assert "Kept in study mine-gsm8k as trial #0, by hand." in said[0]
    assert "Scored before, as trial #0." in said[1]
    assert '"origin": "by hand"' in said[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sums=0.7", "--report"], "score: report documents are kept for the proof"),
        (["sums"], "'sums' names no value; write it as sums=0.7"),
        (["sums=1", "sums=2"], "'sums' is given twice"),
        (["summs=1"], "did you mean 'sums'"),
    ],
)
def test_the_command_refuses_in_a_line(tmp_path: Path, words: list[str], message: str) -> None:
    runs = ["--runs", str(tmp_path / "runs")]
    ran = CliRunner().invoke(app, ["score", str(write(tmp_path)), *words, *runs])
    assert isinstance(ran.exception, UserError) and message in str(ran.exception)


def test_two_studies_in_one_folder_do_not_meet_and_the_same_is_taken_up_again(
    tmp_path: Path,
) -> None:
    def trials(study: StudyFile) -> tuple[str, int]:
        def scorer(documents: Any) -> Landscape:
            return Landscape(documents, PEAK)

        with open_search(study, runs=tmp_path, worker=scorer) as search:
            search.score({"sums": 0.5 + 0.01 * len(search.trials)})
            return search.folder.name, len(search.trials)

    first, other = study_file(), study_file(documents={"search": 96, "report": 40})
    named = [trials(first), trials(other), trials(first)]
    assert named[0][0] == named[2][0] != named[1][0]
    assert [count for _, count in named] == [1, 1, 2]
    assert trials(study_file(budget={"trials": 30}))[0] == named[0][0]


def test_outcome_and_winner_read_in_a_line(tmp_path: Path) -> None:
    opened = Opened(tmp_path, budget={"trials": 5})
    outcome = opened.search.run()
    assert outcome.winner is not None
    for text in (repr(outcome), repr(outcome.winner), repr(outcome.inputs[0])):
        assert len(text) < 900 and "document-" not in text, text
    assert f"winner <trial {outcome.winner.number} (" in repr(outcome)
    assert f"{outcome.winner.scores.mean:.4f} on 128 search documents" in repr(outcome.winner)  # type: ignore[union-attr]  # complete
    close(opened)


@pytest.mark.parametrize(
    ("first", "given", "spins"),
    [
        ("", {}, False),
        ("import torch", {}, True),
        ("import torch", {"OMP_WAIT_POLICY": "active"}, False),
    ],
)
def test_threads_sleep_while_they_wait_whoever_imports_us(
    first: str, given: dict[str, str], spins: bool
) -> None:
    code = f"{first}\nimport os, exme.search, sys\nprint(exme.search.SPINS, 'torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, check=True
    )
    policy = given.get("OMP_WAIT_POLICY", "passive")
    assert ran.stdout.split() == [str(spins), str(bool(first)), policy]
