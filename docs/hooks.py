"""What mkdocs does besides: reference pages from the code, equations as MathML, which needs no script."""

from __future__ import annotations

import html
import re
import runpy
from pathlib import Path
from typing import Any


def on_pre_build(config: Any) -> None:
    """Write the pages that are made from code."""
    runpy.run_path(str(Path(__file__).with_name("generate.py")), run_name="__main__")


def on_page_content(content: str, **_: Any) -> str:
    """Equations between dollar signs, alone in their block of code, are set."""
    from latex2mathml.converter import convert  # noqa: PLC0415

    def equation(found: re.Match[str]) -> str:
        return convert(html.unescape(found[1]).strip(), display="block")

    return re.sub(r"<p>\$\$(.*?)\$\$</p>", equation, content, flags=re.DOTALL)
