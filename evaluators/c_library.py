"""C sources, compiled when they are first needed: a second or so, where there is a compiler.

Libraries are kept in the user's cache folder (``$XDG_CACHE_HOME/exme/compiled``, else ``~/.cache/exme/compiled``), under
the hash of what the compiler was given: source, headers, flags, and the compiler's own macros, which tell its version and
the processor. A folder or a library that another user could have written is not used: then the library lies in a
temporary folder that is removed at once. ``EXME_COMPILE=0`` does without; what is compiled here is written in torch, too.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_WIDE = "-mprefer-vector-width=512"  # x86 only; most of AVX-512 machines gain by it


def build(source: Path, flags: Sequence[str]) -> ctypes.CDLL | None:
    """Compile a source file, unless that was done before, and load it; None where that cannot be.

    Args:
        source: what it includes lies beside it.
        flags: of the compiler, after those that everything is compiled with.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or os.environ.get("EXME_COMPILE") == "0":
        return None
    for more in ((_WIDE,), ()):
        command = [compiler, *_FLAGS, *more, *flags, str(source)]
        try:
            return _kept(command, source.stem) or _compiled(command)
        except (OSError, subprocess.SubprocessError):  # nowhere to write, or to load from, too
            continue
    return None


def _kept(command: Sequence[str], name: str) -> ctypes.CDLL | None:
    """The library of this command from the cache folder, put there first where it is not; None where it cannot be."""
    seen = _run([*command, "-E", "-P", "-dD"])
    digest = hashlib.sha256("\0".join(command).encode() + seen).hexdigest()
    try:
        folder = _private_folder()
        library = folder / f"{name}-{digest[:32]}.so"
        if library.exists():
            _check_own(library)
        else:
            with tempfile.TemporaryDirectory(dir=folder) as partial:
                made = _compile(command, Path(partial))
                made.rename(library)  # whole, whoever else does the same
        return ctypes.CDLL(str(library))
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None


def _private_folder() -> Path:
    """The cache folder, made if need be.

    Raises:
        OSError, RuntimeError: there can be none, or another user may write there.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache) / "exme" / "compiled"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_own(folder)
    return folder


def _check_own(path: Path) -> None:
    """Raise an OSError unless this user alone may write to a path that is no link."""
    found = path.lstat()
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or others:
        raise PermissionError(f"{path}: others may write there")


def _compiled(command: Sequence[str]) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="exme-") as folder:
        return ctypes.CDLL(str(_compile(command, Path(folder))))


def _compile(command: Sequence[str], folder: Path) -> Path:
    library = folder / "library.so"
    _run([*command, "-o", str(library), "-lm"])
    library.chmod(0o600)
    return library


def _run(command: Sequence[str]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout


@functools.cache
def pool() -> ThreadPoolExecutor:
    """Threads for calls of compiled functions, which run beside each other; as many as torch uses."""
    return ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="compiled")


def give_back_freed() -> None:
    """Return what was freed to the system, where the C library keeps it.

    Passes are of many sizes, and the memory of one seldom fits the next: without this as much again lies
    idle (measured). A millisecond or two.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
