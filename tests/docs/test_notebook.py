"""The notebook of the docs: its cells run, in order, offline."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.places import ROOT

NOTEBOOK = ROOT / "docs" / "examples" / "search.ipynb"


def run(source: str, names: dict[str, Any]) -> Any:
    """As a notebook runs a cell: the value of a last expression is what it shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(NOTEBOOK), "exec"), names)  # noqa: S102
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)  # noqa: S307


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_cells_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = [run("".join(cell["source"]), names) for cell in cells]
    outcome = names["outcome"]
    assert names["verdict"](outcome).sentence in capsys.readouterr().out
    assert [len(value) for value in shown if value is not None and hasattr(value, "columns")] == [
        len(outcome.trials)
    ]
    models = {"base", "sums", "products", *({"merged"} if outcome.merged else ())}
    assert set(names["by_model"].columns) == models
    assert (tmp_path / "best" / "model.safetensors").is_file()
