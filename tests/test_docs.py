"""Every command in the docs: run, where it can be, and in any case one that the command line takes."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from exme.search.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
# Pages whose commands are run, in their order; all others' are parsed.
RUN = ["tutorial.md", *(f"how-to/{name}.md" for name in (
    "own-models", "own-task", "air-gapped", "many-gpus", "export", "lora"))]  # fmt: skip
_FENCE = re.compile(r"(<!-- not run: [^>]+ -->\n)?```(sh|bash|console)\n(.*?)```", re.DOTALL)


def fenced(page: Path) -> list[tuple[str, bool]]:
    """Commands in a page's fences, and whether they are to be run."""
    found = []
    for skip, _, block in _FENCE.findall(page.read_text(encoding="utf-8")):
        lines = block.replace("\\\n", " ").splitlines()
        found += [(line.partition("  #")[0].strip(), not skip) for line in lines if line.strip()]
    return found


def mentioned(page: Path) -> list[str]:
    """All lines of code in a page that begin with exme or make."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    code = re.findall(r"^(?: {4}|\t)?((?:exme|make) [a-z].*)$", text, re.MULTILINE)
    return [line.partition("  #")[0].partition(" | ")[0].strip() for line in code]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_docs_exist_with_their_options(page: Path) -> None:
    commands: Any = typer.main.get_command(app)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in mentioned(page):
        words = shlex.split(line)
        if words[0] == "make":
            names = [word for word in words[1:] if "=" not in word]
            assert set(names) <= targets, f"{page.name}: {line}"
            continue
        if words[1] == "COMMAND" or words[1].startswith("-"):
            continue
        assert words[1] in commands.commands, f"{page.name}: {line}"
        known = {
            option
            for parameter in commands.commands[words[1]].params
            for option in (*parameter.opts, *parameter.secondary_opts)
        } | {"--help"}
        given = {word.partition("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)}
        assert given <= known, f"{page.name}: {line}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, with a smaller studies/mini.yaml, so that searches take seconds."""
    study = yaml.safe_load((ROOT / "studies" / "mini.yaml").read_text())
    small = {"documents": {"search": 16, "report": 16}, "budget": {"trials": 6}}
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mini.yaml").write_text(
        yaml.safe_dump(study | small | {"sampler": {"name": "random"}}, sort_keys=False)
    )
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    (tmp_path / "merge.yml").write_text(
        "merge_method: task_arithmetic\nbase_model: mini/base\n"
        "models: [{model: mini/sums, parameters: {weight: 0.7}}]\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", RUN)
def test_the_commands_of_a_page_run(name: str, place: Path) -> None:
    commands = [line for line, is_run in fenced(ROOT / "docs" / name) if is_run]
    assert all(line.startswith("exme ") for line in commands), "mark what cannot be run here"
    for line in commands:
        if "--workers" in line:  # starts processes, which tests/search/test_distributed.py does
            continue
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
    if name == "tutorial.md":
        assert (place / "again" / "model.safetensors").is_file()
        assert (place / "scores.parquet").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_examples_of_every_commands_help_run(place: Path) -> None:
    commands: Any = typer.main.get_command(app)
    examples = {
        name: re.findall(r"`(exme [^`]+)`", (command.help or "").partition("Example:")[2])
        for name, command in commands.commands.items()
    }
    assert all(examples.values())
    order = ["init", "search", *(name for name in examples if name not in ("init", "search"))]
    serve_or_stay = ("dashboard", "--watch", "--workers")  # tests of their own start them
    for line in [line for name in order for line in examples[name]]:
        arguments = shlex.split(line)[1:]
        if arguments[0] == "search":
            arguments = [a for a in arguments if a not in ("--workers", "4")]
        if not set(serve_or_stay) & set(arguments):
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"


def test_the_way_of_one_trial_links_to_what_is_there() -> None:
    links = re.findall(r"\[`([\w.]+)`\]\(([\w/]+\.py)\)", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(links) > 40
    for name, file in links:
        defined = ast.parse((ROOT / file).read_text()).body
        for part in name.split("."):
            kinds = (ast.FunctionDef, ast.ClassDef)
            found = next((d for d in defined if isinstance(d, kinds) and d.name == part), None)
            assert found is not None, f"{file} has no {name}"
            defined = found.body


def test_the_sites_list_names_pages_that_are_there() -> None:
    listed = re.findall(r"([\w/-]+\.md)", (ROOT / "mkdocs.yml").read_text())
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    generated = {"reference/commands.md", "reference/study.md"}
    assert set(listed) == pages | generated  # and every page is listed
    assert len(set(listed)) == len(listed)


def test_pages_made_from_code_hold_every_command_and_key(tmp_path: Path) -> None:
    import runpy

    from exme.search.study_file import StudyFile

    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    commands: Any = typer.main.get_command(app)
    page = made["commands_page"]()
    assert all(f"## exme {name}\n" in page for name in commands.commands)
    study = made["study_page"]()
    assert all(f"| `{name}` |" in study for name in StudyFile.model_fields)
    assert "| `budget.minutes` |" in study
