"""Messages, whatever stands in them."""

from __future__ import annotations

import pytest

from exme.tasks.errors import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("a\x1b[31m\nb\u2028c\ud800", r"a\x1b[31m b c\ud800"),
        ("a\0b\x07", r"a\x00b\x07"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\U000e0041", r"\U000e0041"),
        ("äöü 漢字 🙂", "äöü 漢字 🙂"),
        ("", ""),
    ],
)
def test_a_message_is_one_printable_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
    assert one_line(text).isprintable()


def test_the_middle_of_a_long_message_is_left_out() -> None:
    line = one_line("a" * 5000 + "b" * 5000, 90)
    assert line == f"{'a' * 60} [...] {'b' * 30}"
