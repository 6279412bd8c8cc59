"""Holding back what lm-eval, transformers and datasets say on their way."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import datasets


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back lm-eval's and transformers' chatter; errors are exceptions and still show."""
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    loggers = [logging.getLogger(name) for name in ("lm_eval", "transformers", "datasets")]
    # (a change makes every logger of the process forget what it had looked up: within another block none is made)
    levels = [(logger, logger.level) for logger in loggers if logger.level != logging.ERROR]
    for logger, _ in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        if not bars:
            datasets.enable_progress_bars()
        for logger, level in levels:
            logger.setLevel(level)
