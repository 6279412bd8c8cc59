"""A real headless Chromium, for tests of what people look at; skipped, saying so, where there is none."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium(folder: Path, address: str, *flags: str, seconds: float = 60) -> str:
    """Run Chromium on a page; its standard output."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed (Debian: apt install chromium)")
    command = [
        found, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", *flags, address,
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)
    return ran.stdout


def measured(folder: Path, page: str, widths: tuple[int, ...], script: str, *flags: str) -> Any:
    """What a script says of a page at some widths.

    Args:
        folder: for Chromium's profile.
        page: HTML.
        widths: of the window, in CSS pixels.
        script: body of a function of ``document`` and ``window`` that returns what JSON can hold.
    Returns:
        One result a width.
    """
    frames = "".join(
        f'<iframe width="{w}" height="2000" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
        for w in widths
    )
    outer = (
        f"<!doctype html><meta name=color-scheme content='light dark'>{frames}"
        "<script>window.onload = () => {"
        f"const look = (document, window) => {{ {script} }};"
        "const found = [...document.querySelectorAll('iframe')].map("
        "f => look(f.contentDocument, f.contentWindow));"
        "document.body.innerHTML = '<pre id=found></pre>';"
        "document.getElementById('found').textContent = JSON.stringify(found); };</script>"
    )
    path = folder / "outer.html"
    path.write_text(outer, encoding="utf-8")
    dom = chromium(folder, path.as_uri(), "--dump-dom", "--virtual-time-budget=5000", *flags)
    text = dom.partition('<pre id="found">')[2].partition("</pre>")[0]
    return json.loads(html.unescape(text))
