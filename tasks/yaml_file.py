"""YAML files that people write: read whole and without surprises, or refused in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError


class _Loader(yaml.SafeLoader):
    """YAML without silent losses: a key given twice is an error, and 1:30 is no number (90, of base 60)."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    given: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is a list or a mapping", key_node.start_mark
            )
        key = str(key_node.value)
        if key in given:
            raise yaml.constructor.ConstructorError(
                None, None, f"key '{key}' is given twice", key_node.start_mark
            )
        given.add(key)
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


# Numbers of base 60 are texts, which what expects a number then refuses.
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


def _text_or(number: Callable[..., Any]) -> Callable[[_Loader, yaml.ScalarNode], Any]:
    def constructed(loader: _Loader, node: yaml.ScalarNode) -> Any:
        return node.value if _BASE_60.fullmatch(node.value) else number(loader, node)

    return constructed


for _kind, _number in (
    ("int", yaml.SafeLoader.construct_yaml_int),
    ("float", yaml.SafeLoader.construct_yaml_float),
):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _text_or(_number))
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path, *, absent: str, what: str = "YAML") -> Any:
    """The content of a YAML file, in plain Python types.

    Args:
        path: the file.
        absent: what to say where there is none.
        what: what the file was expected to be.

    Raises:
        UserError: it is not there, or not readable.
    """
    try:
        if not path.is_file():  # a folder; or a pipe, which would be waited for
            raise UserError(f"{path}: {absent}")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (safe)
    # ValueError: not text, an impossible date, a number of thousands of digits.
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            mark = error.problem_mark
            reason = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
        raise UserError(f"{path}: not readable as {what} ({reason})") from None
