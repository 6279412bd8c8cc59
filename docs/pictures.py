"""Makes the pictures of README and the tutorial, from a search that it runs: minutes, and Chromium to draw them.

    python docs/pictures.py

docs/images/terminal.png is what a terminal of 112 columns showed in the middle of the search, docs/images/report.png the first
screen of its report. The search is the shipped study's, in a folder of its own; a picture holds no path of the machine.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).parent / "images"
LARGEST = 150_000  # bytes of a picture
COLUMNS, ROWS = 112, 40
# A frame of rich's begins where the one before it is erased.
_ERASED = re.compile(r"\r?(?:\x1b\[2K)(?:\x1b\[1A\x1b\[2K)+")


def main() -> None:
    """Run a search, draw both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shown = recorded(
            ["exme", "search", "studies/mini.yaml", "--task", "gsm8k", "--runs", str(folder)]
        )
        (folder / "terminal.svg").write_text(drawn(middle_of(shown)), encoding="utf-8")
        take(folder / "terminal.svg", IMAGES / "terminal.png", folder, (1310, 760))
        take(folder / "mini-gsm8k" / "report.html", IMAGES / "report.png", folder, (1200, 745))


def recorded(command: Sequence[str]) -> str:
    """All that a command wrote to a terminal."""
    environment = {
        **os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(COLUMNS),
        "LINES": str(ROWS), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the command has closed its end
            break
        if not part:
            break
        parts.append(part)
    if process.wait():
        sys.exit(f"{' '.join(command)}: ended with {process.returncode}")
    return b"".join(parts).decode("utf-8", "replace").replace("\r\n", "\n")


def middle_of(shown: str) -> str:
    """The panel that was on the terminal when the search was half over."""
    frames = [frame for frame in _ERASED.split(shown) if "╭" in frame and "★" in frame]
    lines = frames[len(frames) // 2].split("\n")
    first = next(n for n, line in enumerate(lines) if "╭" in line)
    last = next(n for n, line in enumerate(lines) if "╰" in line)
    return "\n".join(lines[first : last + 1])


def drawn(frame: str) -> str:
    """A frame as an SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(frame))
    svg = console.export_svg(title="exme search studies/mini.yaml --task gsm8k")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # (they are on a server)
    return re.sub(r"font-family: [^;]+;", "font-family: 'DejaVu Sans Mono', monospace;", svg)


def take(page: Path, picture: Path, folder: Path, size: tuple[int, int]) -> None:
    """A picture of a page's first screen, in few colours."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        sys.exit("chromium is not installed (Debian: apt install chromium)")
    raw = folder / "raw.png"
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}",
         f"--window-size={size[0]},{size[1]}", f"--screenshot={raw}", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    with Image.open(raw) as image:
        picture.parent.mkdir(exist_ok=True)
        few = image.convert("RGB").quantize(
            256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        few.save(picture, optimize=True)
    if picture.stat().st_size > LARGEST:
        sys.exit(f"{picture}: {picture.stat().st_size:,} bytes, expected at most {LARGEST:,}")


if __name__ == "__main__":
    main()
