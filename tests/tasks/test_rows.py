"""The hub is asked once whether it answers, before libraries retry for minutes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import make_server

from tests.helpers.services.http import serving

LOAD = """\
from exme.tasks.errors import UserError
from exme.tasks.rows import HubRows
from exme.tasks.suite import load_suite
from exme.search.merging.sources.location import locate
for ask in (lambda: HubRows(load_suite("gsm8k")).has(None, "test"), lambda: locate("nobody/model", who="base")):
    try: ask()
    except UserError as error: print(error)
"""
ASK = "from exme.tasks.rows import hub_is_reachable; print(hub_is_reachable())"


def run(code: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and never answers, as behind some firewalls."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_hub_that_does_not_answer_is_one_line_each_and_not_asked_again(tmp_path: Path) -> None:
    with silent() as endpoint:
        found = run(LOAD, endpoint, tmp_path)
    data, model = found.stdout.splitlines()
    assert data.startswith(
        "suite 'gsm8k': cannot load 'openai/gsm8k' from the hub (it gave no answer within 5 s, and it is not in the cache); "
    )
    assert model.endswith(
        "nor is it a folder here: it gave no answer within 5 s, and the model is not in the cache; "
        "check the network, or give a folder"
    )
    assert "Retrying" not in found.stderr


def test_a_hub_that_answers_is_reachable_whatever_it_says(tmp_path: Path) -> None:
    def refuse(environ: object, start: object) -> list[bytes]:
        start("404 Not Found", [])  # type: ignore[operator]  # (WSGI's own)
        return [b""]

    with serving(make_server("127.0.0.1", 0, refuse)) as endpoint:
        assert run(ASK, endpoint, tmp_path).stdout == "True\n"
