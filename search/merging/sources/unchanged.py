"""Whether files are what they were: by their content between runs, by their times during one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from exme.tasks import UserError


def digest_files(files: Sequence[Path], *, names: bool = False) -> str:
    """SHA-256 over the content of files, in this order, and over their names where these matter."""
    digest = hashlib.sha256()
    for file in files:
        if names:
            digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class Unchanged:
    """Notices that files were changed while they are in use, by what the file system says of them.

    Not noticed is a change that leaves size, inode and both times as they were, which takes someone
    who sets out to do it; the fingerprint of the next start notices that, too.

    Args:
        name: what error messages call them.
    """

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        self.name = name
        self._seen = {file: _state(file) for file in files}

    def check(self) -> None:
        """Refuse files that are not what they were.

        Raises:
            UserError: names the file.
        """
        for file, seen in self._seen.items():
            if _state(file) != seen:
                raise UserError(
                    f"checkpoint '{self.name}': {file} was changed while it is in use; put the old "
                    f"file back, then the same command resumes"
                )


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
