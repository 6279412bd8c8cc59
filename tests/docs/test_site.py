"""The docs as a site: its links, its list of pages, the pages made from the code. Its commands: tests/docs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from exme.search.cli.main import app
from tests.helpers.docs.pages import PAGES
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


def _anchors(text: str) -> set[str]:
    """Of a page's headings, as code hosts and mkdocs make them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_before_the_site_is_built(page: Path) -> None:
    """On a code host there are no pages that `make docs` makes."""
    made = {ROOT / "docs" / "reference" / name for name in ("commands.md", "study.md")}
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", text)
    for link in filter(None, (a or b for a, b in links)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists() and target not in made, f"{page}: {link}"
        if anchor:
            assert anchor in _anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"


def test_pictures_are_small_and_made_by_the_script() -> None:
    script = (ROOT / "docs" / "pictures.py").read_text()
    for picture in ("terminal.png", "report.png"):
        assert (ROOT / "docs" / "images" / picture).stat().st_size < 150_000
        assert f'"{picture}"' in script


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
