"""lm-eval's `vllm` model by itself: nothing of ours in it, for `exme verify` and measurements."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from exme.evaluators.harness import SeededVLLM, quiet

from .engine import GRACE, Start, engine_arguments
from .logs import explain_start
from .settings import VllmSettings

_OURS = ("weight_transfer_config", "worker_extension_cls", "speculative_config")


@contextlib.contextmanager
def vllm_alone(start: Start, settings: VllmSettings) -> Iterator[Any]:
    """lm-eval's model over an engine of its own, which ends with the context.

    Raises:
        UserError: it did not start.
    """
    arguments = {k: v for k, v in engine_arguments(start, settings).items() if k not in _OURS}
    try:
        with quiet():
            model = SeededVLLM(pretrained=str(start.folder), batch_size="auto", **arguments)
    except Exception as error:  # noqa: BLE001  (whatever a model or a setting makes of vLLM)
        raise explain_start(error, start.log, settings) from None
    try:
        yield model
    finally:
        with contextlib.suppress(Exception):
            model.model.llm_engine.engine_core.shutdown(timeout=GRACE)
