"""The audit of `make check` finds what it is there to find."""

from __future__ import annotations

import subprocess
import sys
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers.audit import complaints, is_allowed, pins, required


class Fake(metadata.Distribution):
    """A distribution that exists on paper."""

    def __init__(self, name: str, version: str, licence: str = "MIT", needs: str = "") -> None:
        self._message = Message()
        for key, value in {"Name": name, "Version": version, "License": licence}.items():
            self._message[key] = value
        if needs:
            self._message["Requires-Dist"] = needs

    def read_text(self, filename: str) -> str | None:
        return self._message.as_string() if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


def installed(*found: Fake) -> dict[str, metadata.Distribution]:
    return {one.metadata["Name"]: one for one in found}


PINS = pins("a==1.0  # why\n# b==9\nb==2.0\n\nC_d==3\n")


def test_pins_are_read_without_comments_by_canonical_names() -> None:
    assert PINS == {"a": "1.0", "b": "2.0", "c-d": "3"}


def test_what_is_pinned_needed_and_allowed_passes() -> None:
    found = installed(Fake("a", "1.0+cpu", needs="b>=2"), Fake("b", "2.0", "BSD-3-Clause"))
    assert complaints(found, PINS, ["a"]) == []


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (Fake("b", "2.1"), "b 2.1 is installed, constraints.txt has 2.0"),
        (Fake("e", "1"), "e 1 is installed, and constraints.txt does not pin it"),
        (Fake("c-d", "3"), "c-d 3 is installed, and nothing requires it"),
        (Fake("b", "2.0", "AGPL-3.0-only"), "b 2.0: licence 'AGPL-3.0-ONLY' is not among"),
        (Fake("b", "2.0", ""), "b 2.0: licence '' is not among those allowed"),
    ],
)
def test_what_is_not_is_named(odd: Fake, expected: str) -> None:
    found = installed(Fake("a", "1.0", needs="b>=2"), odd)
    assert any(line.startswith(expected) for line in complaints(found, PINS, ["a", "e"]))


def test_requirements_of_extras_and_of_other_systems_are_told_apart() -> None:
    needs = 'b>=2; extra == "more"'
    found = installed(Fake("a", "1.0", needs=needs), Fake("b", "2.0"))
    assert required(["a"], found) == {"a"}
    assert required(["a[more]"], found) == {"a", "b"}
    other = installed(Fake("a", "1.0", needs='b; sys_platform == "nowhere"'), Fake("b", "2.0"))
    assert required(["a"], other) == {"a"}


def test_licences_of_one_kind_under_many_names() -> None:
    for stated in (
        "MIT",
        "License :: OSI Approved :: BSD License",
        "APACHE-2.0",
        "MPL-2.0 AND MIT",
    ):
        assert is_allowed(stated.upper())
    for stated in ("", "GPL-3.0-OR-LATER", "PROPRIETARY", "LICENSE :: OTHER/PROPRIETARY LICENSE"):
        assert not is_allowed(stated)


def test_this_environment_passes(root: Path) -> None:
    found = subprocess.run(
        [sys.executable, root / "tests" / "helpers" / "audit.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
