"""What study files of before say otherwise: it is read as what it means now, with a line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_RENAMED = {"objective": "measure"}
_GONE = ("widen", "limits")


def read_as_now(raw: dict[str, Any], path: Path) -> None:
    """Have a study file say what it means in the keys of now.

    Args:
        raw: its content, which is changed.
        path: what messages call it.
    """
    space = raw.get("space")
    if isinstance(space, dict) and set(_GONE) & set(space):
        moved = [name for name in _GONE if space.pop(name, None) is not None]
        print(
            f"{path}: space.{' and space.'.join(moved)} do nothing now: the bounds stay as space.coefficients says.",
            file=sys.stderr,
        )
    for before, now in _RENAMED.items():
        if before in raw and now not in raw:
            print(f"{path}: `{before}` is called `{now}` now; it is read as that.", file=sys.stderr)
            raw[now] = raw.pop(before)
