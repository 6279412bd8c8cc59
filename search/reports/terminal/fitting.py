"""Tables on narrow terminals: columns are given up, or wrapped between words; no word is cut."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table


def print_fitting(console: Console, table: Table, give_up: Sequence[str] = ()) -> None:
    """Print a table within the width of a terminal; in a pipe, where COLUMNS does not say otherwise, as wide as it is.

    Args:
        console: where to.
        table: without lines between its columns.
        give_up: headers of columns that may be left out where there is too little room, the first first.
    """
    is_limited = console.is_terminal or "COLUMNS" in os.environ
    # (rich lays a table out in one column less than there are)
    width = fit(console, table, give_up, console.width - 1 if is_limited else None)
    # A word may be wider than the terminal, which then breaks the line; rich would cut it.
    console.width = max(console.width, width + 1)
    console.print(table)


def fit(console: Console, table: Table, give_up: Sequence[str], width: int | None) -> int:
    """Leave out columns and set the widths of the others, so that no word is cut; the table's width then.

    Args:
        console: whose rules for widths of letters hold.
        table: see `print_fitting`; so is `give_up`.
        give_up: see `table`.
        width: columns of the terminal; None is no limit.
    """
    _, right, _, left = table.padding
    sizes = {id(column): _size(console, column) for column in table.columns}

    def needed() -> int:
        return sum(sizes[id(column)].minimum + left + right for column in table.columns)

    for header in give_up if width is not None else ():
        if needed() <= (width or 0):
            break
        table.columns = [column for column in table.columns if column.header != header]
    room = 10**6 if width is None else max(0, width - needed())
    for column in table.columns:
        size = sizes[id(column)]
        more = min(room, size.maximum - size.minimum)
        room -= more
        column.width, column.no_wrap = size.minimum + more, False
    return sum((column.width or 0) + left + right for column in table.columns)


def _size(console: Console, column: Column) -> Measurement:
    """Of a column: its longest word, and its longest cell."""
    wide = console.options.update(width=10**6)
    found = [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
    return Measurement(max(m.minimum for m in found), max(m.maximum for m in found))
