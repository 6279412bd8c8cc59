"""Every row of what is supported names a test that is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.helpers.places import ROOT

PAGE = (ROOT / "docs/reference/supported.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and " | shown by |" not in line]
STATES = ("works", "works, and is named", "works, approximate", "refused", "falls back")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_a_row_says_what_happens_and_names_the_test_that_shows_it(row: str) -> None:
    _, state, shown = (cell.strip() for cell in row.strip("|").split("|"))
    assert state in STATES
    names = re.findall(r"`([^`]+)`", shown)
    assert names
    for name in names:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert function in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, name


def test_there_are_rows_of_every_kind() -> None:
    assert re.findall(r"^## (.*)$", PAGE, re.MULTILINE)[:3] == ["Models", "Checkpoints", "Adapters"]
    for state in STATES:
        assert any(f"| {state} |" in row for row in ROWS)
