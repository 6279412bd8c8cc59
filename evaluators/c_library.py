"""C sources, compiled when they are first needed: a second or so, where there is a compiler.

The library lies in a folder that is removed at once: nothing is left to go stale or to be tampered with.
``EXME_COMPILE=0`` does without; what is compiled here is written in torch, too.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_WIDE = "-mprefer-vector-width=512"  # x86 only; most of AVX-512 machines gain by it


def build(source: Path, flags: Sequence[str]) -> ctypes.CDLL | None:
    """Compile a source file and load it; None where that cannot be.

    Args:
        source: what it includes lies beside it.
        flags: of the compiler, after those that everything is compiled with.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or os.environ.get("EXME_COMPILE") == "0":
        return None
    for more in ((_WIDE,), ()):
        try:
            with tempfile.TemporaryDirectory(prefix="exme-") as folder:
                library = Path(folder) / f"{source.stem}.so"
                command = [compiler, *_FLAGS, *more, *flags, str(source), "-o", str(library), "-lm"]
                subprocess.run(command, check=True, capture_output=True, timeout=120)
                return ctypes.CDLL(str(library))
        except (OSError, subprocess.SubprocessError):  # nowhere to write, or to load from, too
            continue
    return None


@functools.cache
def pool() -> ThreadPoolExecutor:
    """Threads for calls of compiled functions, which run beside each other; as many as torch uses."""
    return ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="compiled")
