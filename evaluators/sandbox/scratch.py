"""A scratch folder that a hostile program has filled: measure it, empty it."""

from __future__ import annotations

import os
from pathlib import Path

_ENTRY_BYTES = 4096  # what a file or folder costs at least


def used(folder: str, enough: int) -> int:
    """Bytes that a folder's files and folders take, counted until there are more than `enough`.

    A folder that cannot be listed (closed, too deep) counts as more than enough.
    """
    total, waiting = 0, [folder]
    while waiting and total <= enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    total += max(status.st_blocks * 512, _ENTRY_BYTES)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if total > enough:
                        break
        except FileNotFoundError:
            continue  # removed while we looked
        except OSError:
            return enough + 1
    return total


def empty(folder: str) -> None:
    """Remove what is in a folder, however deep. Links are removed, never followed.

    Folders are levelled one at a time, so that no depth breaks the recursion or the path's length.
    The program that filled it must have ended.
    """
    while entries := list(Path(folder).iterdir()):
        for entry in entries:
            if entry.is_symlink() or not entry.is_dir():
                entry.unlink()
                continue
            entry.chmod(0o700)
            for inner in entry.iterdir():
                inner.rename(f"{folder}/{os.urandom(12).hex()}")
            entry.rmdir()
