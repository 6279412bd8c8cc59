"""A study settled, and what its inputs were found to be."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from exme.search.running import Screen, open_search
from exme.search.study import load_study_file


def settle(task: str = "own") -> list[str]:
    """What is said when the study of the current folder is settled, before its first trial."""
    text = io.StringIO()
    screen = Screen(Console(file=text, width=400, soft_wrap=True))
    study = load_study_file(Path("study.yaml"))
    with open_search(study, task, runs="runs", screen=screen) as search:
        search.settle()
    return text.getvalue().splitlines()


def offs(line: str) -> dict[str, float]:
    """Differences in percent, by input."""
    found = re.findall(r"(\w+) ([\d.]+)%", line.split(": ")[1])
    return {name: float(percent) for name, percent in found}
