"""Malformed input by the dozen."""

from __future__ import annotations

from .checkpoints import adapters, checkpoints
from .commands import command_lines, recipes, storages
from .data import data, suites
from .given import Case
from .study_files import study_texts, study_values
from .weights import safetensors


def all_cases() -> list[Case]:
    """Every case, each with a name of its own."""
    return [
        *study_values(),
        *study_texts(),
        *safetensors(),
        *checkpoints(),
        *adapters(),
        *data(),
        *suites(),
        *recipes(),
        *storages(),
        *command_lines(),
    ]
