"""Whole searches with the engine vllm, as people start and end them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from exme.search.merging.sources.location import locate
from tests.helpers.models.small_models import edit_json, make_family

STUDY: dict[str, Any] = {
    "base": "mini/base",
    "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
    "suites": ["gsm8k", "mmlu"],
    "data": "mini",
    "documents": {"search": 16, "report": 8},
    "budget": {"trials": 4},
    "racing": {"chunk": 8},
    "engine": "vllm",
}
EXME = [sys.executable, "-c", "from exme.search.cli.main import main; main()"]
PATIENCE = 900.0  # an engine starts in half a minute on two quiet cores, and in six on busy ones
pytestmark = pytest.mark.timeout(3600)


def write(folder: Path, **changed: Any) -> Path:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY | changed))
    return file


def exme(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*EXME, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)


Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        command = [*EXME, *map(str, arguments)]
        with (tmp_path / "said").open("w") as said:
            found = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, text=True)
        running.append(found)
        return found

    yield begin
    for process in running:
        process.kill()
        process.wait()


def wait_for(true: Callable[[], object], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {PATIENCE:.0f} s")


def processes_of(parent: int) -> list[psutil.Process]:
    """vLLM's processes below one, by what they call themselves."""
    try:
        below = psutil.Process(parent).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [p for p in below if any("VLLM" in part for part in p.cmdline())]


def are_gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_a_search_proves_its_winner_and_scores_as_lm_eval_does_alone(tmp_path: Path) -> None:
    study = write(tmp_path)
    found = exme("search", study, "--task", "gsm8k,mmlu", "--runs", tmp_path / "runs", "--plain")
    assert found.returncode == 0, found.stderr
    assert "merged from files" in found.stdout or "merged in place" in found.stdout
    assert "vLLM agrees with transformers: log-probabilities of" in found.stdout
    assert "The search is over: 4 candidates" in found.stdout
    run = tmp_path / "runs/study-gsm8k+mmlu"
    assert (run / "report.md").is_file()
    assert "vllm" in (run / "report.md").read_text()
    told = exme("verify", study, "--task", "gsm8k,mmlu", "--documents", 8, "--runs", tmp_path / "r")
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("| 8 of 8 (") == 2
    assert re.search(r"gsm8k: [678] of 8 answers are those of lm-eval's `hf` model", told.stdout)
    assert re.search(r"mmlu: [678] of 8 scores are those of lm-eval's `hf` model", told.stdout)
    for line in (*found.stdout.splitlines(), *told.stdout.splitlines()):
        assert not re.search(r"pid=\d+|\bINFO\b", line), "vLLM's own lines belong to its log"


def test_an_engine_that_dies_frees_its_trial_and_ctrl_c_leaves_no_process(
    tmp_path: Path, start: Started
) -> None:
    study = write(tmp_path, budget={"trials": 500}, documents={"search": 64, "report": 8})
    search = start("search", study, "--task", "gsm8k", "--runs", tmp_path / "runs", "--plain")
    said = tmp_path / "said"
    wait_for(lambda: "#0" in said.read_text(), "first trial")
    first = processes_of(search.pid)
    assert first
    for process in first:
        process.kill()
    wait_for(lambda: "the engine is started again" in said.read_text(), "word of the engine's end")
    before = said.read_text().count("\n#")
    wait_for(lambda: said.read_text().count("\n#") > before, "trial after the engine's end")
    second = processes_of(search.pid)
    search.send_signal(signal.SIGINT)
    assert search.wait(PATIENCE) == 130
    wait_for(lambda: are_gone([*first, *second]), "end of vLLM's processes")


def test_a_search_that_is_killed_leaves_no_process(tmp_path: Path, start: Started) -> None:
    search = start(
        "search", write(tmp_path), "--task", "gsm8k", "--runs", tmp_path / "runs", "--plain"
    )
    wait_for(lambda: len(processes_of(search.pid)) >= 2, "engine and its worker")
    left = processes_of(search.pid)
    os.kill(search.pid, signal.SIGKILL)
    wait_for(lambda: are_gone(left), "end of vLLM's processes")


def refused(tmp_path: Path, **changed: Any) -> str:
    """The one line that a study is refused with."""
    found = exme(
        "search",
        write(tmp_path, **changed),
        "--task",
        "gsm8k",
        "--runs",
        tmp_path / "runs",
        "--plain",
    )
    assert found.returncode == 2, found.stdout + found.stderr
    lines = [line for line in found.stderr.splitlines() if line.startswith("exme: ")]
    assert len(lines) == 1
    assert "Traceback" not in found.stderr
    return lines[0]


def test_a_cache_that_holds_no_sequence_names_the_keys_to_lower(tmp_path: Path) -> None:
    said = refused(tmp_path, vllm={"engine_args": {"kv_cache_memory_bytes": 4096}})
    assert "too little memory to start" in said
    assert "lower vllm.max_model_len (not set), max_num_seqs (256)" in said


def test_prompts_that_would_be_cut_name_the_key_to_raise(tmp_path: Path) -> None:
    said = refused(tmp_path, vllm={"max_model_len": 290})
    assert re.search(
        r"vllm.max_model_len: 290 \(set\), and document \S+ of suite 'gsm8k' takes up to (\d+) tokens with its "
        r"answer; set it to \1 or more",
        said,
    )


def test_an_architecture_that_vllm_does_not_know_is_refused(tmp_path: Path) -> None:
    family = make_family(tmp_path / "models")
    for folder in family.values():
        edit_json(folder / "config.json", architectures=["CountedForCausalLM"])
    named = {name: str(folder) for name, folder in family.items()}
    said = refused(tmp_path, base=named.pop("base"), checkpoints=named, max_gen_toks=8)
    assert re.search(r"vLLM [\d.]+\S* has no model class for CountedForCausalLM; use", said)


def test_an_argument_that_vllm_does_not_have_is_refused_with_the_nearest(tmp_path: Path) -> None:
    said = refused(tmp_path, vllm={"engine_args": {"enforce_eagre": True}})
    assert "vLLM has no argument 'enforce_eagre'; did you mean 'enforce_eager'?" in said


def test_workers_that_do_not_divide_the_heads_are_refused_before_anything_is_loaded(
    tmp_path: Path,
) -> None:
    heads = yaml.safe_load((locate("mini/base", who="base") / "config.json").read_text())
    said = refused(tmp_path, vllm={"tensor_parallel_size": heads["num_attention_heads"] + 1})
    assert "does not divide the model's" in said
