"""Tests that start vLLM, in the environment of `make test-vllm`; elsewhere they are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.fast import DraftStore
from exme.evaluators.vllm.engine import Start, VllmEngine
from exme.evaluators.vllm.settings import VllmSettings
from exme.search.merging.sources.checkpoint import read_json
from tests.helpers.models.served import Open, eight_heads
from tests.helpers.models.small_models import make_family

CACHE = 64 * 2**20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("vllm") is None:
        for item in items:
            if "tests/vllm/" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed: `make test-vllm`"))


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_family(tmp_path_factory.mktemp("family"), config=eight_heads())


@pytest.fixture(scope="module")
def open_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Starts engines on a CPU; each is ended before the next is started, the last one with its module."""
    running: list[VllmEngine] = []

    def start(
        folder: Path, *, unpacked: bool = True, dtype: str = "float32", **settings: Any
    ) -> VllmEngine:
        stop()
        os.environ["EXME_VLLM_UNPACKED"] = "1" if unpacked else "0"
        begun = Start(
            folder=folder,
            config=read_json(folder / "config.json"),
            dtype=dtype,
            device="cpu",
            trust_remote_code=False,
            cache_bytes=CACHE,
            utilization=0.5,
            log=tmp_path_factory.mktemp("log") / "vllm.log",
        )
        running.append(VllmEngine(begun, VllmSettings(**settings), DraftStore()))
        return running[-1]

    def stop() -> None:
        while running:
            running.pop().close()

    yield start
    stop()
