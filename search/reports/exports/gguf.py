"""An export as a GGUF file, by llama.cpp's own converter where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from exme.tasks import UserError, did_you_mean

# What the converter writes by itself; smaller types are made of these by llama-quantize.
TYPES = ("f32", "f16", "bf16", "q8_0", "tq1_0", "tq2_0", "auto")
CONVERTER = "convert_hf_to_gguf.py"
SOURCES = "LLAMA_CPP"  # environment variable: the folder of llama.cpp's sources


def check_gguf_type(kind: str) -> None:
    """Refuse a type that the converter does not write, with a UserError."""
    if kind not in TYPES:
        raise UserError(
            f"--gguf {kind}: the converter writes {', '.join(TYPES)}{did_you_mean(kind, TYPES)}; for a smaller one "
            f"export bf16 and run `llama-quantize` on it"
        )


def converter() -> Path | None:
    """llama.cpp's converter: in the folder that LLAMA_CPP names, or on the path."""
    folder = os.environ.get(SOURCES)
    if folder and (found := Path(folder).expanduser() / CONVERTER).is_file():
        return found
    place = shutil.which(CONVERTER)
    return Path(place) if place else None


def write_gguf(folder: Path, kind: str) -> str:
    """Convert an export, into a file in its folder.

    Args:
        folder: a finished export.
        kind: one of `TYPES`.
    Returns:
        What was written; or the command that writes it, where the converter is not installed.
    Raises:
        UserError: there is no such type, or the converter failed; the export stays as it is.
    """
    check_gguf_type(kind)
    out = folder / f"{folder.name}-{kind}.gguf"
    options = [str(folder), "--outfile", str(out), "--outtype", kind]
    script = converter()
    if script is None:
        command = " ".join(["python", f"llama.cpp/{CONVERTER}", *options])
        return (
            f"No GGUF file yet: {CONVERTER} is not on the path and {SOURCES} names no folder with it. With llama.cpp's "
            f"sources: {command}"
        )
    # (its own first line, `env python3`, may be a Python without torch)
    done = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not out.is_file():
        out.unlink(missing_ok=True)
        last = next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        raise UserError(
            f"{out.name}: {script} failed ({last}); the export is whole in {folder}. The converter needs its "
            f"requirements installed, and has to know the architecture"
        )
    return f"Wrote {out} ({out.stat().st_size / 1e6:,.1f} MB)."
