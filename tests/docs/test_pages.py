"""Commands are found wherever pages may hold them, and all that are found are run or excepted."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from exme.search.cli.main import app
from tests.helpers.docs.pages import (
    PAGES,
    all_commands,
    blocks,
    commands_in,
    generated_pages,
    inline,
    names,
)
from tests.helpers.docs.typed import ABRIDGED, ADDED, BEFORE, COLD, typed
from tests.helpers.places import ROOT

PAGE = """
Run `exme init`, then `exme search STUDY
--task gsm8k`, not `data: hub`; `DEPTH=2 python benchmarks/trial.py` and `benchmarks/trial.py --run x`.

    make search \\
        TASK=gsm8k   # comment
    data/gsm8k/train.jsonl

```sh
exme doctor        # comment
any-other program
# no command
```

```console
$ exme status
no search has been begun
```

```yaml
make: of data
```

```sh
#!/bin/sh
exec exme search
```
"""


def test_commands_are_found_in_blocks_in_indented_lines_and_in_the_text() -> None:
    found = commands_in(PAGE, "page.md")
    assert [(c.line, c.text) for c in found if not c.inline] == [
        (5, "make search TASK=gsm8k"),
        (10, "exme doctor"),
        (11, "any-other program"),
        (16, "exme status"),
        (25, "#!/bin/sh\nexec exme search\n"),
    ]
    assert [(c.line, c.text) for c in found if c.inline] == [
        (2, "exme init"),
        (2, "exme search STUDY --task gsm8k"),
        (3, "DEPTH=2 python benchmarks/trial.py"),
        (3, "benchmarks/trial.py --run x"),
    ]


def test_a_command_in_a_block_of_no_language_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"page\.md:2: exme search stands in a fence"):
        commands_in("```\nexme search\n```\n", "page.md")


def test_every_block_of_a_shell_is_read() -> None:
    fences = re.compile(r"^[ \t]*(?:```|~~~)(?:sh|bash|console|shell).*$", re.MULTILINE)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        at = [text[: m.start()].count("\n") + 1 for m in fences.finditer(text)]
        name = str(page.relative_to(ROOT))
        lines = {command.line for command in blocks().get(name, [])}
        assert all(line + 1 in lines for line in at), f"{name}: a block that is not read"
        assert "<!-- not run" not in text, f"{name}: every command is run"


def test_what_is_added_belongs_to_a_command() -> None:
    found = {command.text for command in all_commands()}
    assert set(COLD) <= found
    shown = [typed(text) for text in inline()]
    for begin in (*ADDED, *BEFORE):
        assert any(re.search(rf"(^|[ &]){re.escape(begin)}", text) for text in shown), begin
    for pattern in ABRIDGED:
        assert any(re.match(pattern, text) for text in found), pattern


def test_commands_that_the_text_names_exist() -> None:
    group: Any = typer.main.get_command(app)
    for command in names():
        assert command.text.split()[1] in group.commands, command


def test_the_page_of_commands_has_the_example_of_each_ones_help() -> None:
    group: Any = typer.main.get_command(app)
    helped = [
        " ".join(example.split())
        for command in group.commands.values()
        for example in re.findall(r"`(exme [^`]+)`", command.help.partition("Example:")[2])
    ]
    assert len(helped) >= len(group.commands)
    page = "docs/reference/commands.md"
    shown = commands_in(generated_pages()[page], page)
    assert [command.text for command in shown if not command.inline] == helped


def test_what_is_typed_fills_in_what_is_the_readers() -> None:
    assert typed("exme verify STUDY --task SUITE") == "exme verify studies/mini.yaml --task gsm8k"
    assert typed("exme search --json") == "exme search studies/mini.yaml --json"
    assert typed("make search TASK=gsm8k,mmlu") == "make search TASK=gsm8k,mmlu"
    for text in inline():
        assert not re.search(r"(?<![A-Z_])(STUDY|SUITE|FOLDER|DIR)\b(?!=)|<", typed(text)), text
