"""Tables of any width: columns go, lines wrap between words, and no word is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from exme.search.reports.terminal.fitting import print_fitting
from exme.search.study.suites import suites_table
from exme.tasks.suite import load_suite, suite_names


def shown(table: Table, width: int, *give_up: str, terminal: bool = True) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    print_fitting(console, table, give_up)
    return file.getvalue().splitlines()


def words(table: Table) -> set[str]:
    cells = (str(cell) for column in table.columns for cell in (column.header, *column.cells))
    return {word for cell in cells for word in cell.split()}


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_suites_are_listed_without_a_word_cut(width: int) -> None:
    suites = [load_suite(name) for name in suite_names()]
    give_up = ("version", "published search / report", "splits", "needs", "shots")
    lines = shown(suites_table(suites, "mini"), width, *give_up)
    assert all(len(line.rstrip()) <= width for line in lines)
    assert {word for line in lines for word in line.split()} <= words(suites_table(suites, "mini"))
    listed = "\n".join(lines)
    assert all(suite.suite in listed for suite in suites)
    if width == 200:
        assert "seeded halves of test" in listed


def table_of(name: str) -> Table:
    table = Table("run", "gain", "when", box=None, padding=(0, 2, 0, 0))
    table.add_row(name, "+7.5 points [-9.4, +28.5]", "2026-11-30 20:15")
    return table


def test_a_name_is_whole_whatever_the_width_and_columns_go_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "a-study-of-mine-gsm8k-fork-3-with-a-name-as-long-as-people-like"
    wide = shown(table_of("short"), 60, "when", "gain")
    assert wide[-1].split() == ["short", *"+7.5 points [-9.4, +28.5] 2026-11-30 20:15".split()]
    assert shown(table_of("short"), 22, "when", "gain")[0].split() == ["run", "gain"]
    assert any(name in line for line in shown(table_of(name), 40, "when", "gain"))
    monkeypatch.delenv("COLUMNS", raising=False)
    (_, line) = shown(table_of(name), 80, "when", "gain", terminal=False)
    assert line.startswith(name) and line.rstrip().endswith("[-9.4, +28.5]  2026-11-30 20:15")
