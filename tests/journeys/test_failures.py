"""Trouble of every kind, made on purpose: nothing that was finished is lost, and one line says why."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from exme.search.merging.candidate import Candidate
from exme.search.running.search import Search, open_search
from exme.search.scoring.precision import Precision
from exme.search.scoring.worker import Scored, Worker
from exme.search.study.study_file import StudyFile
from exme.tasks.errors import UserError
from tests.helpers.malformed.given import STUDY, good_folder
from tests.helpers.models.small_models import edit_weights, make_model
from tests.helpers.places import ROOT
from tests.helpers.searches.crew import Crew, Slow, command, complaints, ended, said
from tests.helpers.searches.landscape import Landscape

pytestmark = pytest.mark.slow  # kills, outages, and waits

CLOCK = ROOT / "tests" / "helpers" / "jumping_clock.c"


# Disks -------------------------------------------------------------------------------------------


def test_a_search_whose_files_may_not_grow_ends_in_one_line_and_goes_on_later(
    tmp_path: Path,
) -> None:
    crew = Crew(tmp_path, 40)
    crew.open().storage.close()

    def limit(search: Search) -> None:
        largest = max(p.stat().st_size for p in search.folder.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 100_000,) * 2)

    assert ended(command(crew, limit)) == 2
    assert len(said(crew)) == 1
    assert "the same command resumes" in said(crew)[0]
    done = sum(line.startswith("#") for line in crew.said())
    assert 1 <= done < 40
    assert ended(command(crew, lambda search: None)) == 0
    with crew.open() as search:
        assert complaints(search, crew.said(), 40) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root and its capabilities")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_ends_a_search_in_one_line_and_it_goes_on_when_there_is_room(
    small_disk: Path,
) -> None:
    crew = Crew(small_disk, 40)
    crew.open().storage.close()
    filler = small_disk / "filler"

    def fill(search: Search) -> None:
        free = shutil.disk_usage(small_disk).free
        filler.write_bytes(bytes(max(0, free - 120_000)))

    assert ended(command(crew, fill)) == 2
    assert len(said(crew)) == 1
    assert "full" in said(crew)[0]
    done = sum(line.startswith("#") for line in crew.said())
    assert done < 40
    filler.unlink()
    assert ended(command(crew, lambda search: None, "run")) == 0
    with crew.open() as search:
        assert complaints(search, crew.said(), 40) == []
        assert len(search.outcome().inputs) == 3


# Checkpoints that change -------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> StudyFile:
    """A study on tiny models in float32, begun by nobody yet."""
    folder = good_folder(tmp_path)
    for name, seed in (("base", 0), ("math", 1), ("code", 2)):
        model = folder / "models" / name
        shutil.rmtree(model)
        near = None if name == "base" else folder / "models" / "base"
        make_model(model, seed=seed, dtype=torch.float32, near=near)
    models = {name: str(folder / "models" / name) for name in ("base", "math", "code")}
    changed: dict[str, Any] = {
        "base": models.pop("base"),
        "checkpoints": models,
        "suites": [str(folder / "own.yaml")],
        "data": str(folder / "data"),
        "budget": {"trials": 6},
    }
    return StudyFile.model_validate(STUDY | changed)


def flip(path: Path, place: int) -> None:
    """Alter one bit, in place."""
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def begin(study: StudyFile, runs: Path) -> None:
    with open_search(
        study, runs=runs, worker=lambda d: Landscape(d, {"math": 0.5, "code": 0.5})
    ) as search:
        search.work()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of the last weight": (
        lambda models: flip(models / "math" / "model.safetensors", -1),
        "content of the checkpoints changed",
    ),
    "a byte of the base's first weight": (
        lambda models: flip(models / "base" / "model.safetensors", 5000),
        "content of the checkpoints changed",
    ),
    "a byte of a name in the header": (
        lambda models: flip(models / "math" / "model.safetensors", 60),
        "checkpoint 'math'",
    ),
    "a file cut short": (
        lambda models: os.truncate(models / "code" / "model.safetensors", 9000),
        "checkpoint 'code'",
    ),
    "another checkpoint under the name": (
        lambda models: shutil.copy(
            models / "code" / "model.safetensors", models / "math" / "model.safetensors"
        ),
        "content of the checkpoints changed",
    ),
    "one more space in the base's config.json": (
        lambda models: (models / "base" / "config.json").open("a").write(" "),
        "settings of the base changed",
    ),
    "another tokenizer": (
        lambda models: flip(models / "base" / "tokenizer_config.json", -1),
        "settings of the base changed",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_checkpoints_that_changed_between_runs_are_noticed(
    study: StudyFile, tmp_path: Path, change: str
) -> None:
    begin(study, tmp_path / "runs")
    spoil, expected = CHANGES[change]
    spoil(tmp_path / "models")
    with pytest.raises(UserError, match=expected):
        open_search(study, runs=tmp_path / "runs")


@pytest.mark.parametrize(
    "change", ["a byte of the last weight", "a file cut short", "another checkpoint under the name"]
)
def test_checkpoints_that_change_while_a_search_runs_end_it(
    study: StudyFile, tmp_path: Path, change: str
) -> None:
    with open_search(study, runs=tmp_path / "runs") as search:
        assert search.loop.trial() is not None
        time.sleep(0.01)  # (file systems keep times in steps of some milliseconds)
        CHANGES[change][0](tmp_path / "models")
        with pytest.raises(UserError, match=r"was changed while it is in use"):
            search.loop.trial()
        assert [t.state for t in search.storage.trials()][:2] == ["complete", "cut off"]


# Candidates that cannot be scored ----------------------------------------------------------------


def test_a_candidate_whose_logits_are_not_finite_fails_and_the_search_goes_on(
    study: StudyFile, tmp_path: Path
) -> None:
    # Finite weights, but what the model computes with them overflows.
    math = tmp_path / "models" / "math"
    edit_weights(math, model__norm__weight=torch.full((16,), 3e38))
    for engine in ("fast", "stock"):
        told = study.model_copy(update={"engine": engine})
        with open_search(told, runs=tmp_path / engine) as search:
            search.work()
            trials = search.storage.trials()
        failed = {t.origin: t.message for t in trials if t.state == "failed"}
        assert failed["math alone"] == "the model's logits are not finite"
        scored = [t for t in trials if t.scores is not None]
        assert "code alone" in {t.origin for t in scored}
        assert all(t.candidate and t.candidate.coefficients["math"] == 0 for t in scored)
        with pytest.raises(FloatingPointError, match="logits are not finite"):
            search.worker.score_longer(search.inputs()["math"])


def test_the_fast_engine_is_refused_by_name_beside_a_gpu(study: StudyFile) -> None:
    assert study.engine == "auto"
    told = study.model_copy(update={"engine": "fast"})
    given: Any = None  # refused before anything is loaded
    with pytest.raises(UserError, match=r"engine: fast is for CPUs, and the device is cuda:0; use"):
        Worker(told, given, (), Precision("bfloat16", "bfloat16", "cuda:0"))


def test_a_document_that_makes_the_metric_raise_fails_the_trial_and_not_the_search(
    study: StudyFile, tmp_path: Path
) -> None:
    with open_search(study, runs=tmp_path / "runs") as search:
        worker = search.worker
        assert isinstance(worker, Worker)
        (judge,) = worker.judges("search")
        (task,) = judge._tasks.values()
        stock, raised = task.process_results, list[bool]()

        def raises_once(document: Any, answers: Any) -> Any:
            if (
                search.storage.trials() and not raised
            ):  # (not where an input's answers are tried before)
                raised.append(True)
                raise ZeroDivisionError("no digits")
            return stock(document, answers)

        task.process_results = raises_once
        search.work()
        trials = search.storage.trials()
    assert [t.state for t in trials[:2]] == ["failed", "complete"]
    assert trials[0].scores is None
    assert re.fullmatch(
        r"suite 'own': the metric raised ZeroDivisionError on document train/\d: no digits",
        trials[0].message,
    )
    assert sum(t.scores is not None for t in trials) == 5


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("GPU 0 is full")])
def test_a_candidate_that_takes_all_memory_fails_and_the_search_goes_on(
    tmp_path: Path, error: Exception
) -> None:
    class Greedy(Slow):
        def score(self, candidate: Candidate, split: str) -> Scored:
            if candidate.coefficients["sums"] == 1.3:
                raise error
            return super().score(candidate, split)

    with Crew(tmp_path, 8, kind=Greedy).open() as search:
        search.work()
        trials = search.storage.trials()
    (failed,) = [t for t in trials if t.state == "failed"]
    assert failed.origin == "ExPO 0.3 of sums"
    assert failed.message.startswith(type(error).__name__)
    assert sum(t.scores is not None for t in trials) == 7


# Clocks and twins --------------------------------------------------------------------------------


def test_a_clock_that_jumps_by_years_changes_nothing(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler here to make a clock that jumps, or not Linux")
    clock = tmp_path / "clock.so"
    build = [compiler, "-shared", "-fPIC", "-O1", "-o", str(clock), str(CLOCK), "-ldl"]
    subprocess.run(build, check=True)
    runs = tmp_path / "runs"
    runs.mkdir()
    code = (
        "import os, sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from tests.helpers.searches.crew import Crew, Slow, complaints\n"
        "assert len({time.gmtime().tm_year for _ in range(400)}) > 2\n"  # it does jump
        "crew = Crew(Path(sys.argv[2]), 30, seconds=0.01)\n"
        "pids = [crew.start(n) for n in range(2)]\n"
        "codes = [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]\n"
        "search = crew.open()\n"
        "lines = crew.said()\n"
        "assert codes == [0, 0] and not complaints(search, lines, 30), (codes, lines)\n"
        "assert not any('cut off' in line for line in lines), lines\n"
        "assert all(0 <= t.seconds < 60 for t in search.storage.trials())\n"
    )
    root = str(ROOT)
    found = subprocess.run(
        [sys.executable, "-c", code, root, str(runs)],
        env={**os.environ, "LD_PRELOAD": str(clock)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]


def test_two_searches_on_one_study_share_its_trials_and_prove_once(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 20, seconds=0.02)
    crew.open().storage.close()
    pids = [command(crew, lambda search: None, "run") for _ in range(2)]
    assert [ended(pid) for pid in pids] == [0, 0]
    lines = crew.said()
    with crew.open() as search:
        assert complaints(search, lines, 20) == []
        outcome = search.outcome()
    assert len(outcome.inputs) == 3
    assert outcome.use <= 1
    proved = [line for line in lines if line.startswith("Proving on")]
    assert len(proved) == 1
    workers = {search.storage.frozen(n).user_attrs["worker"]["pid"] for n in range(20)}
    assert workers == set(pids)


def test_nothing_is_decided_by_a_clock_that_can_be_set(root: Path) -> None:
    # (the first two write for people when something was, and nothing reads that back; the last looks once)
    writers = ("events.py", "lm_eval_results.py", "clock.py")
    files = [f for part in ("search", "evaluators", "tasks") for f in (root / part).rglob("*.py")]
    wrong = [
        f"{file.relative_to(root)}: {word}"
        for file in files
        for word in ("time.time(", "datetime.now", "utcnow", "time_ns(")
        if word in file.read_text(encoding="utf-8") and file.name not in writers
    ]
    assert not wrong
