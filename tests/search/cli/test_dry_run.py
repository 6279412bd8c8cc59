"""`exme search --dry-run` says what a search would take, and leaves nothing."""

from __future__ import annotations

import io
import re
from pathlib import Path

import yaml
from rich.console import Console

from exme.search.cli.dry_run import dry_run
from exme.search.running.screen import Screen


def test_a_dry_run_tells_memory_documents_time_and_engine_and_writes_nothing(
    tmp_path: Path,
) -> None:
    study = tmp_path / "mine.yaml"
    keys = {
        "base": "mini/base",
        "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
        "suites": ["gsm8k"],
        "also": ["mmlu", "gsm8k"],  # (gsm8k is searched on)
        "data": "mini",
        "documents": {"search": 16, "report": 8},
        "batch_size": 2,
        "storage": f"sqlite:///{tmp_path}/study.db",
    }
    study.write_text(yaml.safe_dump(keys))
    text = io.StringIO()
    screen = Screen(Console(file=text, width=400, soft_wrap=True))
    dry_run(study, "gsm8k", {"trials": 3, "hours": None}, 1, screen)
    compared, first = text.getvalue().splitlines()[:2]
    assert compared.startswith("Inputs as their own models")  # (which is what takes the memory)
    assert first.startswith("This will take about ")
    assert (
        "72 documents (24 to score 3 candidates, 4 models on 8 report documents, 2 on 8 of other suites)"
        in first
    )
    assert re.search(r" and \d+ s: \d+ s of search, \d+ s of proof", first)
    assert first.endswith("Engine: fast, as the device is a CPU.")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
