"""The one error that users see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user gave cannot be used.

    The command line prints the message alone and ends with exit code 2. The message names the
    object, what was found, what was expected and what to do.
    """


class ShapeMismatch(UserError):
    """Two tensors of one name have different shapes."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name.

    Returns:
        ``"; did you mean 'x'?"`` with the nearest of `known`, or the empty string.
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
