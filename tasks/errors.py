"""The one error that users see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user gave cannot be used.

    The command line prints the message alone and ends with exit code 2. The message names the
    object, what was found, what was expected and what to do.
    """


def one_line(text: str, most: int = 1000) -> str:
    """A text as one printable line: whitespace joined, other control characters spelt out.

    What people give ends in messages, and so may what files of strangers hold: names of tensors, keys.

    Args:
        text: any text.
        most: characters; of a longer text the middle is left out.
    """
    words = " ".join(text.split())
    if len(words) > most:
        words = f"{words[: most * 2 // 3]} [...] {words[-most // 3 :]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


class ShapeMismatch(UserError):
    """Two tensors of one name have different shapes."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name.

    Returns:
        ``"; did you mean 'x'?"`` with the nearest of `known`, or the empty string.
    """
    if len(word) > 100:  # no slip of the finger, and slow to compare
        return ""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
