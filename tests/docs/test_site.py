"""The docs as a site: its links, its list of pages, the pages made from the code. Its commands: tests/docs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import typer

from exme.search.cli.main import app
from tests.helpers.places import ROOT


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

    from exme.search.study.study_file import StudyFile
    from exme.search.study.training_run import NO_KEY

    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    commands: Any = typer.main.get_command(app)
    page = made["commands_page"]()
    assert all(f"## exme {name}\n" in page for name in commands.commands)
    study = made["study_page"]()
    assert all(f"| `{name}` |" in study for name in StudyFile.model_fields if name != NO_KEY)
    assert "| `budget.minutes` |" in study
