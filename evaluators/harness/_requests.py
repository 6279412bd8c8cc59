"""requests, which lm-eval imports, without chardet's models of languages: 12 MB and a second of a search's start.

Without it requests guesses encodings by charset_normalizer, which it requires.
"""

from __future__ import annotations

import importlib

from exme.evaluators.imports import kept_out

with kept_out("chardet"):
    importlib.import_module("requests")
