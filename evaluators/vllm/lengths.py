"""Prompts that are longer, with their answers, than a sequence may be: lm-eval cuts them, and says so in a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exme.evaluators.harness import Judge, longest_requests
from exme.tasks import UserError

from .settings import VllmSettings, longest_sequence, positions


def check_lengths(
    judge: Judge, reference: Any, config: Mapping[str, Any], settings: VllmSettings
) -> str:
    """What people are to know of a suite's prompts; empty where none is cut.

    Args:
        reference: lm-eval's model over the base.
        config: content of the base's config.json.

    Raises:
        UserError: a prompt would be cut, and the model takes longer ones; names the key.
    """
    most, limit = longest_sequence(config, settings), positions(config)
    long = longest_requests(judge, reference, most)
    if not long:
        return ""
    suite, (document, tokens) = judge.suite.suite, long[0]
    if limit is None or most < limit:
        said = "set" if settings.max_model_len is not None else "the default"
        raise UserError(
            f"vllm.max_model_len: {most} ({said}), and document {document} of suite '{suite}' takes up to "
            f"{tokens} tokens with its answer; set it to {min(tokens, limit or tokens)} or more"
        )
    return (
        f"Suite '{suite}': with their answers {len(long)} of {len(judge.documents)} {judge.split} documents are "
        f"longer than the model's {limit} positions; lm-eval's `vllm` model cuts their beginning."
    )
