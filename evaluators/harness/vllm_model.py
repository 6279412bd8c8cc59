"""lm-eval's own `vllm` model class, told what an engine of ours needs. Importing this module imports vLLM."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from lm_eval.api.instance import Instance
from vllm.platforms import current_platform

from exme.evaluators.vllm import installed_version

from .noise import quiet


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

# Of one request: the prompt's tokens, and the answer's.
Answered = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], None]


class VllmModel(VLLM):  # type: ignore[misc]  # lm_eval is not typed
    """lm-eval's `vllm` model, its prompts tokenised once, all requests of a call as one batch.

    Args:
        folder: of the model.
        before: called with the tokens of all prompts before they are answered; not for log-likelihoods.
        after: called with the tokens of all prompts and of their answers.
        settings: lm-eval's and vLLM's.
    """

    batch_size: Any

    def __init__(
        self,
        folder: str,
        *,
        before: Callable[[Sequence[Sequence[int]]], None] | None = None,
        after: Answered | None = None,
        **settings: Any,
    ) -> None:
        self._before, self._after = before, after
        self._encoded: dict[tuple[Any, ...], list[int]] = {}
        with quiet():
            super().__init__(pretrained=folder, batch_size="auto", **settings)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """See `Engine.generate_until`."""
        with quiet():
            answers: list[str] = super().generate_until(requests, disable_tqdm=disable_tqdm)
        return answers

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """See `Engine.loglikelihood`."""
        with quiet():
            found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = True, **more: Any) -> Any:
        return super()._loglikelihood_tokens(requests, disable_tqdm=True, **more)

    def tok_encode(self, string: Any, add_special_tokens: Any = None, **settings: Any) -> Any:
        """Token ids of a string or of several, each tokenised at its first use."""
        strings = [string] if isinstance(string, str) else list(string)
        keys = [(s, add_special_tokens, tuple(sorted(settings.items()))) for s in strings]
        new = [s for s, key in zip(strings, keys, strict=True) if key not in self._encoded]
        if new:
            found = super().tok_encode(new, add_special_tokens, **settings)
            for s, ids in zip(new, found, strict=True):
                self._encoded[s, add_special_tokens, tuple(sorted(settings.items()))] = ids
        encoded = [list(self._encoded[key]) for key in keys]
        return encoded[0] if isinstance(string, str) else encoded

    def _model_generate(
        self,
        requests: list[list[int]],
        generate: bool = False,
        sampling_params: Any = None,
    ) -> Any:
        """Every request's output; vLLM's bar of progress is not drawn."""
        if generate and self._before is not None:
            self._before(requests)
        self.batch_size = (
            1  # (what draws the bar is asked for by "auto", which takes all as one batch)
        )
        try:
            outputs = super()._model_generate(requests, generate, sampling_params)
        finally:
            self.batch_size = "auto"
        if generate and self._after is not None:
            self._after(requests, [output.outputs[0].token_ids for output in outputs])
        return outputs

    def count_tokens(self, text: str) -> int:
        """See `Engine.count_tokens`."""
        return len(self.tok_encode(text, add_special_tokens=False))
