"""lm-eval's own `vllm` model class, told what an engine of ours needs. Importing this module imports vLLM."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

from lm_eval.api.instance import Instance
from vllm.platforms import current_platform

from exme.evaluators.vllm import installed_version

from .generation import seeds
from .remembering import Remembering


def _import_class() -> Any:
    """lm-eval's class; it asks for the version of `vllm` by a name that the wheel for CPUs does not have."""
    assert (
        current_platform.device_type
    )  # told by the same question, which is not to be answered by ours
    ask, found = metadata.version, str(installed_version())

    def version(distribution_name: str) -> str:
        return found if distribution_name == "vllm" else ask(distribution_name)

    metadata.version = version
    try:
        from lm_eval.models.vllm_causallms import VLLM  # noqa: PLC0415
    finally:
        metadata.version = ask
    return VLLM


VLLM: Any = _import_class()
logging.getLogger("vllm").setLevel(logging.ERROR)  # in this process; the engine's own have a log

Prompts = Sequence[Sequence[int]]  # tokens of each


class SeededVLLM(VLLM):  # type: ignore[misc]  # lm_eval is not typed
    """lm-eval's `vllm` model, whose random answers depend on their requests alone: see `generation.seeds`.

    Where a task names neither `do_sample` nor `temperature`, the answer is the greedy one, as of the `hf` model: lm-eval
    0.4.13 leaves the temperature to vLLM then, which takes 1.
    """

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """See `Engine.generate_until`."""
        asked = []
        for request, seed in zip(requests, seeds(requests), strict=True):
            context, settings = request.args
            how = {"do_sample": False} if seed is None else {"seed": seed}
            asked.append(replace(request, arguments=(context, {**settings, **how})))
        answers: list[str] = super().generate_until(asked, disable_tqdm=disable_tqdm)
        return answers


class VllmModel(Remembering, SeededVLLM):
    """lm-eval's `vllm` model, its prompts tokenised once, all requests of a call as one batch.

    Args:
        before: called with prompts, and whether no answer is drawn at random, before these are answered; not for
            log-likelihoods.
        after: called with the same and the tokens of the answers.
        settings: lm-eval's and vLLM's.
    """

    batch_size: Any

    def __init__(
        self,
        folder: str,
        *,
        before: Callable[[Prompts, bool], None] | None = None,
        after: Callable[[Prompts, bool, Prompts], None] | None = None,
        **settings: Any,
    ) -> None:
        self._before, self._after = before, after
        super().__init__(pretrained=folder, batch_size="auto", **settings)

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = True, **more: Any) -> Any:
        return super()._loglikelihood_tokens(requests, disable_tqdm=True, **more)

    def _model_generate(
        self,
        requests: list[list[int]],
        generate: bool = False,
        sampling_params: Any = None,
    ) -> Any:
        """Every request's output; vLLM's bar of progress is not drawn."""
        is_greedy = generate and all(p.temperature == 0 for p in sampling_params)
        if generate and self._before is not None:
            self._before(requests, is_greedy)
        self.batch_size = (
            1  # (what draws the bar is asked for by "auto", which takes all as one batch)
        )
        try:
            outputs = super()._model_generate(requests, generate, sampling_params)
        finally:
            self.batch_size = "auto"
        if generate and self._after is not None:
            self._after(requests, is_greedy, [output.outputs[0].token_ids for output in outputs])
        return outputs
