"""The Makefile: what it lists, what it runs, and when it sets up again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")

Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """A folder with the Makefile and one module, not set up."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, tmp_path)
    (tmp_path / "search").mkdir()
    (tmp_path / "search/space.py").write_text("LOW = 0\n")
    return tmp_path


@pytest.fixture
def make(project: Path) -> Make:
    """Run make there with pip, free of what `make test` passed down."""
    ours = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "STUDY", "TASK", "VENV", "UV"}
    env = {k: v for k, v in os.environ.items() if k not in ours}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", "UV=", *arguments],
            cwd=project, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def set_up(make: Make, project: Path) -> None:
    """The stamps of a finished set-up, without the minutes."""
    state = project / ".venv/.exme"
    state.mkdir(parents=True)
    (state / "created").write_text(f"{project.resolve() / '.venv'}\n")
    stamps = re.findall(r"^touch (.*)$", make("-n", "setup").stdout, re.MULTILINE)
    assert len(stamps) == 2
    for stamp in stamps:
        (project / stamp).touch()


def program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_help_is_the_default_and_lists_every_target(make: Make, project: Path) -> None:
    listed = make()
    targets = re.findall(r"^\.PHONY: (\w+)$", (project / "Makefile").read_text(), re.MULTILINE)
    assert {"search", "report", "export", "dashboard", "test", "check"} <= set(targets)
    assert set(targets) == set(re.findall(r"^  make (\w+) +\S", listed.stdout, re.MULTILINE))
    assert listed.stdout == make("help").stdout
    assert listed.stderr == ""


def test_help_names_every_variable_a_person_may_set(make: Make, project: Path) -> None:
    listed = make("help").stdout
    makefile = (project / "Makefile").read_text()
    for name in [*re.findall(r"^(\w+) +\?=", makefile, re.MULTILINE), "TRIALS", "TORCH_INDEX"]:
        assert f"{name}=" in listed


@pytest.mark.usefixtures("set_up")
@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("search TASK=gsm8k", "exme search studies/mini.yaml --task gsm8k"),
        ("search STUDY=studies/mine.yaml", "exme search studies/mine.yaml --task gsm8k"),
        ("search TRIALS=5", "exme search studies/mini.yaml --task gsm8k --trials 5"),
        ("report", "exme report studies/mini.yaml --task gsm8k"),
        (
            "export OUT=best FORCE=1",
            "exme export studies/mini.yaml --task gsm8k --out best --force",
        ),
        ("dashboard ARGS=--help", "exme dashboard studies/mini.yaml --task gsm8k --help"),
        ("init ARGS=--help", "exme init --help"),
    ],
)
def test_a_target_runs_the_command(make: Make, given: str, command: str) -> None:
    ran = make("-n", *given.split())
    assert " ".join(ran.stdout.replace("\\\n", " ").split()) == f".venv/bin/{command}"


def test_a_search_in_a_new_clone_sets_up_first(make: Make) -> None:
    plan = make("-n", "search").stdout
    steps = ["-m venv", "--no-deps  torch", "-r .venv/.exme/requirements.txt", "--editable ."]
    places = [plan.index(step) for step in [*steps, "exme search"]]
    assert places == sorted(places)


@pytest.mark.usefixtures("set_up")
def test_a_finished_set_up_is_not_repeated(make: Make, project: Path) -> None:
    (project / "search/space.py").write_text("LOW = 1\n")
    assert "install" not in make("-n", "search").stdout


@pytest.mark.usefixtures("set_up")
def test_a_new_file_renews_the_links_alone(make: Make, project: Path) -> None:
    (project / "search/sampler.py").touch()
    plan = make("-n", "search").stdout
    assert "--editable ." in plan
    assert "requirements.txt" not in plan


@pytest.mark.usefixtures("set_up")
def test_files_that_are_not_the_packages_renew_nothing(make: Make, project: Path) -> None:
    for name in ("studies/runs/mini-gsm8k/study.db", "search/__pycache__/space.pyc", "search/a~"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    assert "install" not in make("-n", "search").stdout


@pytest.mark.usefixtures("set_up")
def test_other_pins_install_again(make: Make, project: Path) -> None:
    later = (project / ".venv/.exme/run").stat().st_mtime + 10
    os.utime(project / "constraints.txt", (later, later))
    assert "requirements.txt" in make("-n", "search").stdout


@pytest.mark.usefixtures("set_up")
def test_a_moved_clone_gets_a_new_environment(make: Make, project: Path) -> None:
    (project / ".venv/.exme/created").write_text("/elsewhere/.venv\n")
    assert "-m venv --without-pip --clear .venv" in make("-n", "search").stdout


def test_a_python_that_is_too_old_is_named(make: Make, project: Path) -> None:
    old = program(project / "python3.9", '[ "$1" = --version ] && echo Python 3.9.6 || exit 1')
    ran = make("setup", f"PYTHON={old}")
    assert ran.returncode == 2
    assert "Python 3.11 or later" in ran.stderr
    assert "Python 3.9.6" in ran.stderr
    assert not (project / ".venv").exists()


def test_a_step_that_fails_leaves_no_stamp(make: Make, project: Path) -> None:
    python = program(project / "python", 'case "$*" in *venv*) mkdir -p .venv/bin; exit 1;; esac')
    assert make("setup", f"PYTHON={python}").returncode == 2
    assert not (project / ".venv/.exme").exists()
