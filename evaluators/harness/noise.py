"""Holding back what lm-eval, transformers and datasets say on their way."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

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


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Hold back whatever is written, by programs that are called too; errors are exceptions and still show."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    for stream in streams:
        stream.flush()
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        # (streams that stand in for these two, as in a notebook)
        with (
            Path(os.devnull).open("w") as sink,
            contextlib.redirect_stdout(sink),
            contextlib.redirect_stderr(sink),
        ):
            yield
    finally:
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(nowhere)
