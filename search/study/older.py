"""What study files of before say otherwise: it is read as what it means now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RENAMED = {"objective": "measure"}
_GONE = ("widen", "limits")


def as_now(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A study's content in the keys of now, and what was changed of it, a sentence each.

    Args:
        raw: as it was written, in a file or with a run that is kept.
    """
    found, told = dict(raw), []
    space = found.get("space")
    if isinstance(space, dict) and set(_GONE) & set(space):
        gone = [name for name in _GONE if name in space]
        found["space"] = {key: value for key, value in space.items() if key not in gone}
        named = " and space.".join(gone)
        told.append(f"space.{named} do nothing now: the bounds stay as space.coefficients says.")
    for before, now in _RENAMED.items():
        if before in found and now not in found:
            told.append(f"`{before}` is called `{now}` now; it is read as that.")
            found[now] = found.pop(before)
    return found, told
