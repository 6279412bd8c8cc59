"""Every command that stands in the text of the docs is run, completed by what the reader would fill in."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from tests.helpers.docs.clone import Clone
from tests.helpers.docs.pages import inline
from tests.helpers.docs.typed import COLD, typed
from tests.helpers.places import ROOT
from tests.helpers.services.postgres import binaries_or_skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("make"), reason="make is not installed"),
]

INLINE = inline()


@pytest.mark.parametrize("text", INLINE, ids=str)
def test_a_command_of_the_text_runs(text: str, used: Clone) -> None:
    if "--storage postgres" in text:
        binaries_or_skip()
    if text.startswith("git ") and not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    if text == "make docs" and importlib.util.find_spec("mkdocs") is None:
        # The command would install it. The site's list of pages is tests/docs/test_site.py's.
        used.stand_in("mkdocs", "import sys; print('asked of mkdocs:', *sys.argv[1:])")
    environment = used.elsewhere if text in COLD else {}
    if text == "make check":  # a minute of mypy, which is for `make check` itself
        used.stand_in("mypy", "import sys; print('asked of mypy:', *sys.argv[1:])")
    used.type(INLINE[text], typed(text), **environment)
