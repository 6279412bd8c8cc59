"""Every command in a block of the docs is run as it stands: by a shell, in a clone, without a network."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.helpers.docs.clone import Clone, MakeClone, answers, events
from tests.helpers.docs.pages import Command, blocks
from tests.helpers.services.postgres import Postgres, binaries_or_skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("make"), reason="make is not installed"),
]

BLOCKS = blocks()
# Where the page says that the study lives in a database.
IN_A_DATABASE = "docs/how-to/many-gpus.md"


@pytest.fixture
def database() -> Iterator[str]:
    with Postgres(binaries_or_skip()) as server:
        yield server.url


@pytest.mark.parametrize("page", BLOCKS)
def test_the_commands_of_a_page_run_in_their_order(
    page: str, make_clone: MakeClone, request: pytest.FixtureRequest
) -> None:
    found = BLOCKS[page]
    activates = any(command.text.startswith(". ") for command in found)
    clone = make_clone(page.replace("/", "-"), activated=not activates)
    if not any("exme init studies/mine.yaml" in command.text for command in found):
        shutil.copyfile(clone.folder / "studies/mini.yaml", clone.folder / "studies/mine.yaml")
        clone.stamp()
    if page == IN_A_DATABASE:
        clone.shrink("studies/mine.yaml", storage=request.getfixturevalue("database"))
    for command in found:
        run(clone, command)


def run(clone: Clone, command: Command) -> None:
    """Run a command, and look at what it left."""
    words = command.text.split()
    if command.text.startswith("#!"):
        run_array(clone, command)
    elif "dashboard" in words:
        with clone.serving(command) as address:
            assert "optuna" in answers(f"{address}dashboard").lower(), command
    elif words[:2] == ["exme", "worker"]:
        # It joins a study that a search has used up: there is to be something to do.
        clone.shrink(words[2], budget={"trials": 7}, storage=clone.storage_of(words[2]))
        assert "left 0 candidates" in clone.type(command), command
    elif words[:2] == ["exme", "init"]:
        (clone.folder / words[2]).unlink(missing_ok=True)  # a page may show it for other models
        clone.type(command)
        clone.stamp()
    else:
        said = clone.type(command, PYTEST_ARGS="tests/test_audit.py -q -n 0 -p no:cacheprovider")
        look(clone, command, said)


def look(clone: Clone, command: Command, said: str) -> None:
    """What a command promises besides its exit code."""
    if out := re.search(r"(?:--out |\bOUT=)(\S+)", command.text):
        assert (clone.folder / out[1]).exists(), command
    if extra := re.search(r"\[(\w+)\]", command.text):
        assert extra[1] in (importlib.metadata.metadata("exme").get_all("Provides-Extra") or [])
    if "--push" in command.text:
        repository, options, files = json.loads((clone.folder / "pushed.json").read_text())
        assert repository == "me/my-merge" and options["private"], command
        assert {"exme_recipe.json", "model.safetensors", "README.md"} <= set(files), command
    if "search.jsonl" in command.text:
        assert [e["event"] for e in events(clone.folder / "search.jsonl")][-1] == "verdict", command
    if command.text == "make test":
        assert re.search(r"\d+ passed", said), command


def run_array(clone: Clone, command: Command) -> None:
    """A script of Slurm's: two jobs of its array at once, as `sbatch` would start them."""
    assert "#SBATCH --array=" in command.text, command
    jobs = [clone.run_script(command, SLURM_ARRAY_TASK_ID=str(number)) for number in range(2)]
    for job in jobs:
        said, _ = job.communicate(timeout=240)
        assert job.returncode == 0, f"{command}\n{said}"
