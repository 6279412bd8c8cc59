"""The wheel holds what the tree holds, and nothing leaks out of the namespace `exme`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDERS = ("search", "evaluators", "tasks", "studies")


def python(
    *arguments: str, cwd: Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python outside the project, `path` before what is installed."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path:
        env["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def tracked(root: Path) -> list[str]:
    """Files of the project as a commit of everything would have them, relative to its root."""
    if not (root / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout: no list of files to compare with")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    return [name for name in listed if name and (root / name).is_file()]


@pytest.fixture(scope="module")
def wheel(root: Path, tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clean copy, unpacked."""
    copy = tmp_path_factory.mktemp("copy")
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy / name)
    (copy / "studies/runs/mini-gsm8k").mkdir(parents=True)
    (copy / "studies/runs/mini-gsm8k/study.yaml").write_text("left: over\n")
    out = tmp_path_factory.mktemp("wheel")
    built = python(
        "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy), cwd=out
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (packed,) = out.glob("exme-*.whl")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(out / "unpacked")
    return out / "unpacked"


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path, tracked: list[str]) -> None:
    wanted = {f"exme/{n}" for n in tracked if n.startswith(tuple(f"{f}/" for f in FOLDERS))}
    held = {str(p.relative_to(wheel)) for p in (wheel / "exme").rglob("*") if p.is_file()}
    missing = sorted(n for n in wanted - held if not n.endswith(".md"))
    assert not missing, f"pyproject.toml lists neither their package nor their data: {missing}"
    assert not held - wanted, "not in the tree"


def test_the_wheel_holds_nothing_but_exme(wheel: Path) -> None:
    names = {p.name for p in wheel.iterdir() if not p.name.endswith(".dist-info")}
    assert names == {"exme"}
    assert not (wheel / "exme/__init__.py").exists()
    assert not list(wheel.rglob("runs"))
    assert not list(wheel.rglob("test_*"))


def test_the_wheel_runs_without_the_tree(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import exme.search, exme.evaluators, exme.tasks\n"
        "from importlib.resources import files\n"
        "assert list(files('exme.studies').iterdir())\n"
        "print(exme.search.__file__, exme.evaluators.__file__, exme.tasks.__file__, sep='\\n')"
    )
    ran = python("-c", code, cwd=tmp_path, path=wheel)
    assert ran.returncode == 0, ran.stderr
    assert all(Path(line).is_relative_to(wheel) for line in ran.stdout.split())


def test_the_wheel_states_its_licence_and_command(wheel: Path) -> None:
    (info,) = wheel.glob("exme-*.dist-info")
    assert "exme = exme.search.cli.main:main" in (info / "entry_points.txt").read_text()
    assert "License-Expression: Apache-2.0" in (info / "METADATA").read_text()
    assert (info / "licenses/LICENSE").is_file()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_folders_are_not_importable_by_their_own_names(name: str, tmp_path: Path) -> None:
    ran = python("-c", f"import {name}", cwd=tmp_path)
    assert f"No module named '{name}'" in ran.stderr


def test_every_dependency_is_pinned_within_its_bounds(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = (root / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    assert "+" not in "".join(pinned.values()), "a pin that names a build fits one kind of machine"
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        assert pinned[canonicalize_name(wanted.name)] in wanted.specifier, line
