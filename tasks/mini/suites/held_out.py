"""The data files of the mini suites: `python -m exme.tasks.mini.suites.held_out` writes them all again."""

from __future__ import annotations

from pathlib import Path

from exme.tasks.mini import DATA

from . import GENERATED, gsm8k
from .corpus import write_json_lines


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
    data = DATA.resolve()  # not the editable install's links
    gsm8k.write_held_out(data / "gsm8k")
    for suite in GENERATED:
        write_held_out(suite, data / suite)


if __name__ == "__main__":
    main()
