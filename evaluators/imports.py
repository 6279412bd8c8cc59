"""Packages that others load where they find them, and that nothing here uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_out(package: str) -> Iterator[None]:
    """Inside, a package cannot be imported, as if it was not installed; nothing is done where it is loaded already.

    Args:
        package: top-level name. Afterwards it is as usable as before.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # (to import it fails)
    try:
        yield
    finally:
        del sys.modules[package]
