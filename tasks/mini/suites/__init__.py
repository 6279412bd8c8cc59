"""The mini suites: exercises in each suite's format, right by construction. Knows texts and seeds; no model, no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import bbh, gsm8k, humaneval, ifeval, mathematics, mbpp, mmlu
from .corpus import Document, normalised, read_json_lines, write_json_lines
from .exercise import HALVES, KINDS, Draw, Exercise, Slot

# By the suite's folder; GSM8K's word problems have a form of their own (`gsm8k.held_out`).
GENERATED: Mapping[str, Callable[[], dict[str, list[Exercise]]]] = {
    "minerva_math": mathematics.held_out,
    "humaneval": humaneval.held_out,
    "mbpp": mbpp.held_out,
    "mmlu": mmlu.held_out,
    "bbh": bbh.held_out,
    "ifeval": ifeval.held_out,
}

__all__ = [
    "GENERATED",
    "HALVES",
    "KINDS",
    "Document",
    "Draw",
    "Exercise",
    "Slot",
    "bbh",
    "gsm8k",
    "humaneval",
    "ifeval",
    "mathematics",
    "mbpp",
    "mmlu",
    "normalised",
    "read_json_lines",
    "write_json_lines",
]
