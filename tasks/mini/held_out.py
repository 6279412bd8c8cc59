"""The data files of the mini suites: `python -m exme.tasks.mini.held_out` writes them all again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from . import bbh, gsm8k, humaneval, ifeval, mathematics, mbpp, mmlu
from .corpus import write_json_lines
from .exercise import Exercise

DATA = Path(__file__).resolve().parent / "data"  # not the editable install's links
# By the suite's folder; GSM8K's word problems have a form of their own (`gsm8k.held_out`).
GENERATED: Mapping[str, Callable[[], dict[str, list[Exercise]]]] = {
    "minerva_math": mathematics.held_out,
    "humaneval": humaneval.held_out,
    "mbpp": mbpp.held_out,
    "mmlu": mmlu.held_out,
    "bbh": bbh.held_out,
    "ifeval": ifeval.held_out,
}


def write_held_out(suite: str, folder: Path) -> None:
    """Write a suite's files below `folder`.

    Args:
        suite: of GENERATED.
        folder: the suite's own.
    """
    for path, exercises in GENERATED[suite]().items():
        write_json_lines((e.row for e in exercises), folder / f"{path}.jsonl")


def main() -> None:
    """Write the files of all suites into the package."""
    gsm8k.write_held_out()
    for suite in GENERATED:
        write_held_out(suite, DATA / suite)


if __name__ == "__main__":
    main()
