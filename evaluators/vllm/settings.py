"""What a study says of the engine vllm, and what vLLM is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from exme.tasks import UserError, did_you_mean

# Longest sequence where the study names none: every suite's prompts and answers fit, and a cache of it is small.
LONGEST = 8192

# What the search itself decides: another value would make it wrong, or be overwritten.
OURS = {
    "model": "`base` names the model",
    "tokenizer": "the base's tokenizer is used",
    "weight_transfer_config": "candidates are merged by ExMe's own backend",
    "worker_extension_cls": "ExMe has its own",
    "speculative_config": "drafts are earlier candidates' answers; `drafts: false` does without",
    "enable_prefix_caching": "it is on, and reset between candidates",
    "enable_lora": "adapters are merged: name them in `checkpoints`",
    "data_parallel_size": "`exme search --workers N` starts several engines",
}
_QUANTIZED = "quantised weights cannot be merged in float32 with one rounding, so the model that is scored would not be the one exported; leave it out"


class VllmSettings(BaseModel):
    """The section `vllm` of a study file; most names are vLLM's. See docs/how-to/gpu.md.

    Attributes:
        tensor_parallel_size: GPUs that share one model.
        gpu_memory_utilization: share of each GPU's memory for weights and cache; null leaves room for the sources
            where they fit beside these, and takes 0.92 elsewhere.
        max_model_len: most tokens of a prompt and its answer; null is `LONGEST`, or the model's own limit.
        dtype: in which the model computes, instead of the study's `compute_dtype`.
        max_num_seqs: most answers that are decoded beside each other.
        drafts: draft answers from those of earlier candidates; the answers are the same without.
        engine_args: further arguments of vLLM's `EngineArgs`, by their names in Python.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tensor_parallel_size: int = Field(default=1, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    max_model_len: int | None = Field(default=None, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_num_seqs: int = Field(default=256, ge=1)
    drafts: bool = True
    engine_args: Mapping[str, Any] = {}

    @field_validator("engine_args")
    @classmethod
    def _for_the_study_to_set(cls, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse further arguments that the search decides, or that quantise."""
        for name, value in arguments.items():
            if name in OURS:
                raise ValueError(
                    f"vllm.engine_args: '{name}' is not for the study to set: {OURS[name]}"
                )
            if name != "engine_args" and name in cls.model_fields:
                raise ValueError(
                    f"vllm.engine_args: '{name}' has a key of its own; write `vllm: {{{name}: ...}}`"
                )
            if name == "quantization" and value is not None:
                raise ValueError(f"vllm.engine_args: quantization: {value}: {_QUANTIZED}")
        return arguments


def check_model(config: Mapping[str, Any], settings: VllmSettings) -> None:
    """Refuse what config.json rules out, before anything is loaded.

    Raises:
        UserError: a quantised model, heads that cannot be divided, or a longer context than the model has.
    """
    text = config.get("text_config") or config
    if config.get("quantization_config"):
        raise UserError(
            f"engine: vllm: the base is quantised ({config['quantization_config'].get('quant_method')}): {_QUANTIZED}"
        )
    heads, parts = text.get("num_attention_heads"), settings.tensor_parallel_size
    if isinstance(heads, int) and heads % parts:
        fits = [str(n) for n in range(1, heads + 1) if heads % n == 0]
        raise UserError(
            f"vllm.tensor_parallel_size: {parts} does not divide the model's {heads} attention heads; "
            f"use one of {', '.join(fits)}"
        )
    most = positions(config)
    if most is not None and (settings.max_model_len or 0) > most:
        raise UserError(
            f"vllm.max_model_len: {settings.max_model_len} tokens, the model has {most} positions; "
            f"set it to {most} or less"
        )


def longest_sequence(config: Mapping[str, Any], settings: VllmSettings) -> int:
    """Most tokens of a prompt and its answer."""
    if settings.max_model_len is not None:
        return settings.max_model_len
    most = positions(config)
    return LONGEST if most is None else min(most, LONGEST)


def positions(config: Mapping[str, Any]) -> int | None:
    """How many tokens of a sequence a model tells apart; None where config.json does not say."""
    most = (config.get("text_config") or config).get("max_position_embeddings")
    return most if isinstance(most, int) else None


def refuse_unknown(arguments: Mapping[str, Any], known: list[str]) -> None:
    """Refuse arguments that this vLLM does not have.

    Raises:
        UserError: names the nearest.
    """
    for name in arguments:
        if name not in known:
            raise UserError(
                f"vllm.engine_args: vLLM has no argument '{name}'{did_you_mean(name, known)}"
            )
