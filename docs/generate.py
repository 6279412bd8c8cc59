"""Writes the reference pages that are made from code: commands and study files.

    python docs/generate.py

tests/docs/test_site.py fails where a page is not what this makes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from exme.search.cli.main import app
from exme.search.study.study_file import StudyFile
from exme.search.study.training_run import NO_KEY

HERE = Path(__file__).parent / "reference"


def commands_page() -> str:
    """Every command: what it does, its example, its arguments and options."""
    parts = [
        "# Commands",
        (
            "Made from the code by `docs/generate.py`. `exme COMMAND --help` says the same; "
            "`exme --install-completion` teaches your shell to complete commands, options and suites."
        ),
    ]
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        text = inspect.cleandoc(command.help or "")
        text, _, example = text.partition("Example: ")
        lines = [f"    {' '.join(example.split()).strip('`')}"] if example else []
        parts += [f"## exme {name}", _joined(text), *lines, _options(command)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _joined(text: str) -> str:
    """Paragraphs, each on one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def _options(command: Any) -> str:
    rows = ["| argument or option | what it is | default |", "|---|---|---|"]
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            shown = str(parameter.name).upper()
        else:
            value = "" if parameter.is_flag else f" {str(parameter.name).upper()}"
            shown = ", ".join([*parameter.opts, *parameter.secondary_opts]) + value
        default = parameter.default
        told = "" if default in (None, False, (), []) or callable(default) else f"`{default}`"
        if parameter.required:
            told = "required"
        rows.append(f"| `{shown}` | {(parameter.help or '').replace('|', '/')} | {told} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def study_page() -> str:
    """Every key of a study file: type, default, meaning."""
    parts = [
        "# Study files",
        (
            "One YAML file says everything about a search; unknown keys are refused. `exme init` writes one "
            "with comments. Made from the code by `docs/generate.py`."
        ),
        _keys(StudyFile, ""),
    ]
    return "\n\n".join(parts) + "\n"


def _keys(model: type[BaseModel], prefix: str) -> str:
    meanings = _attributes(model)
    rows = ["| key | default | meaning |", "|---|---|---|"] if not prefix else []
    for name, field in model.model_fields.items():
        if name == NO_KEY:
            continue
        key = f"{prefix}{name}"
        annotation = field.annotation
        section = next(
            (
                a
                for a in (annotation, *getattr(annotation, "__args__", ()))
                if isinstance(a, type) and issubclass(a, BaseModel)
            ),
            None,
        )
        told = meanings.get(name, "")
        if section is not None:
            summary = inspect.getdoc(section) or ""
            told = told or summary.partition("\n\n")[0].replace("\n", " ")
            rows.append(f"| `{key}` | {'null' if field.default is None else ''} | {told} |")
            rows.append(_keys(section, f"{key}."))
            continue
        default = "required" if field.is_required() else f"`{_yaml(field.default)}`"
        rows.append(f"| `{key}` | {default} | {told} |")
    return "\n".join(rows)


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _attributes(model: type[BaseModel]) -> Mapping[str, str]:
    """What a class' docstring says of its attributes."""
    text = inspect.getdoc(model) or ""
    _, _, listed = text.partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", listed, re.MULTILINE)
    return {
        name: " ".join(told.split()).replace("``", "`").replace("|", "\\|") for name, told in found
    }


PAGES = {"commands.md": commands_page, "study.md": study_page}

if __name__ == "__main__":
    for file, make in PAGES.items():
        (HERE / file).write_text(make(), encoding="utf-8")
