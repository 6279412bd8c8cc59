"""What nothing here uses is not loaded, and stays usable."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from exme.evaluators.imports import kept_out


def test_a_package_cannot_be_imported_inside_and_can_afterwards() -> None:
    assert "this" not in sys.modules
    with pytest.raises(ImportError), kept_out("this"):
        importlib.import_module("this")
    assert "this" not in sys.modules
    importlib.import_module("this")
    with kept_out("this"):  # too late
        importlib.import_module("this")
    assert sys.modules.pop("this") is not None


def test_lm_eval_is_loaded_without_chardet_which_stays_usable() -> None:
    pytest.importorskip("chardet")
    program = """
import sys
import exme.evaluators.harness
assert "chardet" not in sys.modules
import chardet, requests
assert chardet.detect(b"plain")["encoding"]
answer = requests.models.Response()
answer._content = "Käse, süß und würzig".encode("latin-1")
assert "Käse" in answer.text
"""
    subprocess.run([sys.executable, "-c", program], check=True)
