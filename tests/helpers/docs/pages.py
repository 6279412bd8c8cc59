"""The commands that the pages of the docs hold: in fences, in indented lines, in the text."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.places import ROOT

_GENERATED = [ROOT / "docs" / "reference" / name for name in ("commands.md", "study.md")]
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")} - set(_GENERATED))

# What begins a command outside of fences of a shell, where text and data stand as well.
PROGRAMS = (
    *("exme", "make", "python", "python3", "pip", "pytest", "hf", "git", "bash", "sh", ".", "cd", "export", "uv"),
    *("docker", "kubectl", "sbatch", "srun", "apt", "apt-get", "curl", "wget", "ssh", "psql", "sudo", "mkdocs"),
    *("jupyter", "wandb", "mlflow", "lm_eval", "lm-eval", "mergekit-yaml", "torchrun", "conda", "source"),
)  # fmt: skip
_SETTING = r"(?:[A-Z][A-Z0-9_]*=\S* )*"
_BEGIN = re.compile(
    rf"{_SETTING}(?:(?:{'|'.join(map(re.escape, PROGRAMS))})(?: |$)|(?:\S*/)?\.?venv/\S+ |benchmarks/\w+\.py )"
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

_NAME = re.compile(r"exme [a-z]+")
_SPAN = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")


@dataclass(frozen=True)
class Command:
    """A command of the docs.

    Attributes:
        page: relative to the project's folder.
        line: where it begins.
        text: as the page has it, without the comment behind it; a script is one command.
        inline: whether it stands in the text, between backticks.
    """

    page: str
    line: int
    text: str
    inline: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def commands(page: Path) -> list[Command]:
    """All commands of a page, in their order."""
    return commands_in(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))


def commands_in(text: str, page: str) -> list[Command]:
    """All commands of a text, in their order."""
    found = []
    for match in _FENCE.finditer(text):
        language, block = match.groups()
        first = text[: match.start(2)].count("\n") + 1
        if language in ("sh", "bash", "console", "shell"):
            found += [Command(page, first + n, line) for n, line in _fenced(block)]
        elif language in ("", "text"):
            wrong = [line for _, line in _lines(block) if _BEGIN.match(line)]
            assert not wrong, f"{page}:{first}: {wrong[0]} stands in a fence that is no shell's"
    rest = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    prose = rest.split("\n")
    for number, line in _lines(rest, joined=True):
        if line.startswith(("    ", "\t")) and _BEGIN.match(line.strip()):
            found.append(Command(page, number, _bare(line)))
            prose[number - 1] = ""
    for match in _SPAN.finditer(text := "\n".join(prose)):
        span = " ".join(match[1].split())
        if _BEGIN.match(span) and " " in span:
            line_number = text[: match.start()].count("\n") + 1
            found.append(Command(page, line_number, span, inline=True))
    return sorted(found, key=lambda command: command.line)


def _fenced(block: str) -> Iterator[tuple[int, str]]:
    if block.startswith("#!"):
        yield 0, block
        return
    lines = list(_lines(block, joined=True))
    if any(line.startswith("$ ") for _, line in lines):  # a session: the others are what was said
        lines = [(number, line[2:]) for number, line in lines if line.startswith("$ ")]
    for number, line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            yield number - 1, _bare(line)


def _lines(text: str, *, joined: bool = False) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1; where `joined`, one that ends in a backslash has the next with it."""
    lines = iter(enumerate(text.split("\n"), 1))
    for number, line in lines:
        while joined and line.endswith("\\"):
            line = line[:-1].rstrip() + " " + next(lines)[1].strip()
        yield number, line


def _bare(line: str) -> str:
    return line.strip().partition("  #")[0].partition(" # ")[0].rstrip()


def generated_pages() -> dict[str, str]:
    """The pages that are made from the code."""
    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]
    return {f"docs/reference/{name}": make() for name, make in made.items()}


def all_commands() -> list[Command]:
    """The commands of all pages, those that are made from the code last."""
    written = [command for page in PAGES for command in commands(page)]
    made = [c for name, text in generated_pages().items() for c in commands_in(text, name)]
    return written + made


def blocks() -> dict[str, list[Command]]:
    """The commands in the blocks of each page that has some, in their order."""
    found: dict[str, list[Command]] = {}
    for command in all_commands():
        if not command.inline:
            found.setdefault(command.page, []).append(command)
    return found


def inline() -> dict[str, Command]:
    """The commands in the text, each once, without those that are run in a block.

    ``exme`` and a word is no command there but the name of one: `names` has these.
    """
    seen = {command.text for found in blocks().values() for command in found}
    found: dict[str, Command] = {}
    for command in all_commands():
        if command.inline and command.text not in seen and not _NAME.fullmatch(command.text):
            found.setdefault(command.text, command)
    return found


def names() -> list[Command]:
    """Where a command of `exme` is named in the text, e.g. ``exme init``."""
    return [c for c in all_commands() if c.inline and _NAME.fullmatch(c.text)]
