"""Malformed input by the dozen."""

from __future__ import annotations

from tests.helpers.malformed.checkpoints import adapters, checkpoints
from tests.helpers.malformed.commands import command_lines, recipes, storages
from tests.helpers.malformed.data import data, suites
from tests.helpers.malformed.given import Case
from tests.helpers.malformed.study_files import study_texts, study_values
from tests.helpers.malformed.weights import safetensors


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
