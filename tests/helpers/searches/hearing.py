"""A screen that keeps what is said on it."""

from __future__ import annotations

from exme.search.running.screen import Screen


class Hearing(Screen):
    """Keeps lines, and notes of what goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.notes: list[str] = []

    def say(self, line: str, style: str = "") -> None:
        self.lines.append(line)

    def note(self, text: str) -> None:
        self.notes.append(text)
