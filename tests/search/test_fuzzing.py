"""Parsers on inputs that hypothesis thinks up: each is taken, or refused by a UserError."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exme.search.storage.patience import hide_secrets
from exme.search.study.study_file import StudyFile
from exme.tasks.errors import one_line

from .fuzzing import TOKENS, Edit, Targets, mutate
from .malformed.given import STUDY

NAMES = [
    *("study", "suite", "recipe", "weights", "settings", "index", "adapter", "adapter weights"),
    *("data", "drafts", "answers", "model card", "command line"),
]
PIECES = st.sampled_from(TOKENS) | st.binary(max_size=9)
EDITS = st.lists(
    st.builds(Edit, st.floats(0, 1), st.integers(0, 40) | st.just(10**6), PIECES),
    min_size=1,
    max_size=4,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Targets(tmp_path_factory.mktemp("fuzz"))
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_good_is_taken(targets: Targets, name: str) -> None:
    assert targets.run(name, targets.targets[name][1])


@pytest.mark.timeout(120, method="signal")
@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(edits=EDITS)
def test_spoilt_bytes_are_taken_or_refused(targets: Targets, name: str, edits: list[Edit]) -> None:
    targets.run(name, mutate(targets.targets[name][1], edits))


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(data=st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(targets: Targets, name: str, data: bytes) -> None:
    targets.run(name, data)


@settings(QUICK, max_examples=300)
@given(key=st.sampled_from(sorted(StudyFile.model_fields)), value=VALUES)
def test_any_value_of_a_study_is_taken_or_refused(targets: Targets, key: str, value: Any) -> None:
    targets.run("study", yaml.safe_dump(STUDY | {key: value}).encode())


@settings(QUICK, max_examples=200)
@given(st.text(max_size=300), st.integers(30, 100))
@example("a\x1b[31m\nb\u2028c\ud800", 100)
def test_one_line_is_one_printable_line(text: str, most: int) -> None:
    line = one_line(text, most)
    assert line.isprintable()
    assert len(line) <= 10 * (math.ceil(most * 4 / 3) + 10)


PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4)


@settings(QUICK, max_examples=200)
@given(PASSWORDS, st.sampled_from(["postgresql", "postgresql+psycopg", "mysql+pymysql", "redis"]))
def test_a_password_in_a_url_is_never_shown(password: str, scheme: str) -> None:
    shown = hide_secrets(f"cannot reach {scheme}://me:{password}@db.example.org:5432/exme?a=b (no)")
    assert f":{password}@" not in shown
    assert shown == f"cannot reach {scheme}://me:***@db.example.org:5432/exme?a=b (no)"
