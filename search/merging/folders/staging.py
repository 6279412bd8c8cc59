"""A folder that is either wholly there or not at all: exports are staged beside their place.

Written under a hidden name, and renamed at the end, so that an export that was interrupted leaves nothing
that looks finished; what it did leave is cleared away by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from exme.search.merging.sources import Sources, sync
from exme.tasks import UserError

# The file by which an export of ours is known.
RECIPE = "exme_recipe.json"
_SPARE_BYTES = 32 * 2**20  # tokenizer, card and scores


def check_target(out: Path, sources: Sources, *, force: bool) -> None:
    """Clear up after exports that died, and refuse to write over what is not ours to replace.

    Args:
        out: the resolved folder.
        sources: the models that the export is made of.
        force: an earlier export may be replaced.

    Raises:
        UserError: the folder cannot be used.
    """
    clear_leftovers(out)
    for source in (sources.base, *sources.checkpoints.values()):
        if out in (source.folder.resolve(), *source.folder.resolve().parents):
            raise UserError(f"{out}: holds '{source.name}', from which the export is made")
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder that does not exist yet")
    if not any(out.iterdir()):
        return
    if not (out / RECIPE).is_file():
        raise UserError(
            f"{out}: holds something other than an export of ExMe, which is never replaced; give "
            f"another folder"
        )
    if not force:
        raise UserError(f"{out}: holds an export already; --force replaces it")


def check_space(out: Path, size: int) -> None:
    existing = next(folder for folder in out.parents if folder.exists())
    free, needed = shutil.disk_usage(existing).free, size + _SPARE_BYTES
    if free < needed:
        raise UserError(
            f"{out}: the export takes {needed / 1e9:.2f} GB, its disk has {free / 1e9:.2f} GB free; "
            f"make room, or give a folder on another disk"
        )


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that takes its place at the end, or is removed on any error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial-{os.getpid()}"
    partial.mkdir()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # some network file systems lock no folders
            stack.enter_context(_locked(partial))
        try:
            yield partial
            sync(partial)
            _replace(out, partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which dies with its process; OSError where another one holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _replace(out: Path, partial: Path) -> None:
    """Rename `partial` to `out`; an old export is put aside first and removed last."""
    aside = out.parent / f".{out.name}.replaced-{os.getpid()}"
    if out.exists():
        out.rename(aside)
    try:
        partial.rename(out)
    except BaseException:
        if aside.exists():
            aside.rename(out)
        raise
    sync(out.parent)
    shutil.rmtree(aside, ignore_errors=True)


def clear_leftovers(out: Path) -> None:
    """Remove what dead exports left; an old one that was put aside when it died is put back."""
    for aside in out.parent.glob(f".{glob.escape(out.name)}.replaced-*"):
        if out.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(out)
    for partial in out.parent.glob(f".{glob.escape(out.name)}.partial-*"):
        with contextlib.suppress(OSError), _locked(partial):  # a living export holds its lock
            shutil.rmtree(partial)


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    sync(path)
