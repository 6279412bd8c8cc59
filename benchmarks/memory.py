"""Peak memory of a whole search, from the first import to the written report.

Runs `exme search` in a process of its own and reads its memory from /proc every 10 ms. *Own* memory is what
the process asked for and nobody else can use (RssAnon); *resident* memory counts the pages of libraries
and checkpoints mapped from files, too, which the kernel shares between processes and may drop. The
aim is stated for the live model and the sources plus 500 MB.

    python benchmarks/memory.py --task gsm8k
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_IMPORTS = "import exme.search.running.search, sqlalchemy, time; time.sleep(0.3)"
_SEARCH = "from exme.search.cli.main import main; main()"


@dataclass
class Peak:
    """Highest values seen, in MB (10^6 bytes)."""

    own: float = 0.0
    resident: float = 0.0


def watch(arguments: list[str]) -> Peak:
    """Run a Python program to its end and take its peak memory."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    status, peak = Path(f"/proc/{process.pid}/status"), Peak()
    while process.poll() is None:
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except (OSError, ValueError):  # it has just ended
            break
        peak.own = max(peak.own, _megabytes(fields.get("RssAnon")))
        peak.resident = max(peak.resident, _megabytes(fields.get("VmRSS")))
        time.sleep(0.01)
    if process.wait() != 0:
        sys.exit(f"the program ended with exit code {process.returncode}")
    return peak


def _megabytes(field: str | None) -> float:
    return int(field.split()[0]) * 1024 / 1e6 if field else 0.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="studies/mini.yaml")
    parser.add_argument("--task", default="gsm8k")
    options = parser.parse_args()
    imports = watch(["-c", _IMPORTS])
    with tempfile.TemporaryDirectory() as runs:
        arguments = ["search", options.study, "--task", options.task, "--runs", runs]
        whole = watch(["-c", _SEARCH, *arguments])
    for name, peak in (("imports alone", imports), ("whole search", whole)):
        print(f"{name:<14} own {peak.own:5.0f} MB   resident {peak.resident:5.0f} MB")


if __name__ == "__main__":
    main()
