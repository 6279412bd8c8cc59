"""What is wrong with keys and values that somebody wrote, in one line."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError

from .errors import did_you_mean

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


def explain(
    error: ValidationError, model: type[BaseModel], example: str, hidden: Sequence[str] = ()
) -> str:
    """The first problem.

    Args:
        error: what pydantic found.
        model: of what was checked.
        example: where a good one is.
        hidden: fields of `model` that are no keys.
    """
    # A misspelt key first: the key that is missing for it says less.
    problems = error.errors(include_url=False)
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    where = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = [name for name in _keys_at(model, location[:-1]) if name not in hidden]
        have = ", ".join(known)
        return f"unknown key '{where}' (have: {have}){did_you_mean(location[-1], known)}"
    if first["type"] == "missing":
        return f"key '{where}' is missing; see {example} for an example"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    found = _SHORT.repr(first["input"])  # (aliases make a few lines of YAML gigabytes of text)
    return f"{where}: {message[0].lower()}{message[1:]}, found {found}"


def _keys_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation
        inner = [
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)
