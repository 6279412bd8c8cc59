"""lm-eval's prompt templates, compiled once.

lm-eval compiles a document's template anew for every prompt, every few-shot example and every score: once
the model is quick, that is most of what judging costs. A template's text never changes, so neither does
what it compiles to.
"""

from __future__ import annotations

import functools

import lm_eval.utils


def compile_templates_once() -> None:
    """Have lm-eval's template environment remember what it compiled; calling it again does nothing."""
    environment = lm_eval.utils.env
    if not hasattr(environment.from_string, "cache_info"):
        environment.from_string = functools.lru_cache(maxsize=1024)(environment.from_string)
