"""The command line: help, refusals, and a whole search that is killed and taken up again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.running.search import open_search

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def exme(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The installed command, as a person runs it."""
    command = [str(Path(sys.executable).with_name("exme")), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def write_study(folder: Path, **changed: object) -> Path:
    content = {
        "base": "mini/base",
        "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
        "data": "mini",
        "documents": {"search": 24, "report": 24},
        "sampler": {"name": "random"},
        "budget": {"trials": 7},
    } | changed
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"exme {command}" in result.output.replace("Usage: exme", "")
    assert "Example" in result.output


# A command that is asked to stop while it reads its study.
STOPPED = """
import os, signal, time
import exme.search.study
from exme.search.cli.main import main

def asked(path):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)

exme.search.study.load_study_file = asked
main()
"""


def test_ctrl_c_says_which_command_resumes() -> None:
    """Also where the library of the command line has made an exit code of it."""
    ran = subprocess.run(
        [sys.executable, "-c", STOPPED, "suites", "my study.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 130
    told = "Stopped. Nothing that was finished is lost; `exme suites 'my study.yaml'` resumes."
    assert ran.stderr.splitlines() == ["", told]


def test_the_shell_completes_commands_and_suites(tmp_path: Path) -> None:
    def completed(words: str) -> list[str]:
        count = str(len(words.split(" ")) - 1)
        asked = {"_EXME_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": count}
        command = [str(Path(sys.executable).with_name("exme"))]
        ran = subprocess.run(
            command, env=os.environ | asked, capture_output=True, text=True, check=True
        )
        return ran.stdout.split()

    assert completed("exme sea") == ["search"]
    assert completed("exme export --ta") == ["--task"]
    assert completed("exme search --task h") == ["humaneval"]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from exme.search.cli.main import app\n"
        "heavy = {'torch', 'transformers', 'optuna', 'lm_eval', 'scipy', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "absent.yaml"], "absent.yaml: no such study file; `exme init` writes one"),
        (["search", "small.yaml", "--task", "gsm8"], "did you mean 'gsm8k'?"),
        (["search", "small.yaml", "--trials", "0"], "greater than or equal to 1"),
        (["serach"], "No such command 'serach'"),
        (["export", "small.yaml"], "not begun yet"),
        (["search", "small.yaml", "--color"], "No such option"),
    ],
)
def test_bad_input_ends_in_one_clear_message_and_exit_code_2(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_study(tmp_path)
    result = exme(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_missing_checkpoint_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_study(tmp_path, checkpoints={"mine": "no/such/folder/here"})
    result = exme("search", "small.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert "checkpoint 'mine'" in result.stderr
    assert not (tmp_path / "studies").exists()


@pytest.mark.slow
def test_a_killed_search_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    write_study(tmp_path)
    command = [str(Path(sys.executable).with_name("exme")), "search", "small.yaml"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    log = tmp_path / "log"
    with log.open("w", encoding="utf-8") as stream:
        running = subprocess.Popen(command, cwd=tmp_path, stdout=stream, env=environment)
        deadline = time.monotonic() + 240
        while "\n#2 " not in log.read_text(encoding="utf-8"):
            assert running.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "no third trial in four minutes"
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
        running.wait()
    study, runs = tmp_path / "small.yaml", tmp_path / "studies" / "runs"
    with open_search(study, runs=runs) as looked:
        before = [t for t in looked.outcome().trials if t.scores]
    assert len(before) >= 3

    result = exme("search", "small.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    with open_search(study, runs=runs) as looked:
        outcome = looked.outcome()
    after = [t for t in outcome.trials if t.scores]
    assert [(t.number, t.candidate, t.scores) for t in after][: len(before)] == [
        (t.number, t.candidate, t.scores) for t in before
    ]
    assert sum(t.duplicate_of is None for t in after) == 7
    assert [t.origin for t in after[:3]] == ["sums alone", "products alone", "mean"]
    assert len(outcome.inputs) == 3
    assert "small-gsm8k/report.html" in result.stdout
    report = runs / "small-gsm8k" / "report.md"
    assert report.read_text(encoding="utf-8").splitlines()[2].startswith("**")


@pytest.mark.slow
def test_what_is_exported_scores_exactly_what_the_search_saw(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from exme.evaluators.harness import Judge, StockEngine

    study = write_study(tmp_path, budget={"trials": 4}, batch_size=24)
    assert exme("search", "small.yaml", cwd=tmp_path).returncode == 0
    result = exme("export", "small.yaml", "--out", "best", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    runs = tmp_path / "studies" / "runs"
    with open_search(study, runs=runs) as looked:
        winner, documents = looked.outcome().winner, looked.documents
    assert winner is not None
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "best", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "best")
    again = Judge(documents[0], "search").score(StockEngine(model, tokenizer, 24)).scores
    assert again == winner.scores
