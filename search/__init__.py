"""The search over coefficients, and the Python interface to it.

    from exme.search import open_search

The names below are loaded when they are first used, so that importing is quick.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Candidate": "merging.candidate",
    "StudyFile": "study.study_file",
    "load_study_file": "study.study_file",
    "open_search": "running.search",
    "Search": "running.search",
    "write_report": "reports.pages.report",
    "export_best": "reports.exports.export",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
