"""What a study says of the engine vllm, and what vLLM is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
_OWN_KEYS = (
    "tensor_parallel_size",
    "gpu_memory_utilization",
    "max_model_len",
    "dtype",
    "max_num_seqs",
)


@dataclass(frozen=True)
class VllmSettings:
    """The section `vllm` of a study file.

    Attributes:
        tensor_parallel_size: GPUs that share one model.
        gpu_memory_utilization: share of each GPU's memory for weights and cache; None leaves room for the sources
            where they fit beside these, and takes 0.92 elsewhere.
        max_model_len: most tokens of a prompt and its answer; None is `LONGEST`, or the model's own limit.
        max_num_seqs: most answers that are decoded beside each other.
        drafts: draft from earlier candidates' answers.
        engine_args: further arguments of vLLM's `EngineArgs`, as they are.
    """

    tensor_parallel_size: int = 1
    gpu_memory_utilization: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int = 256
    drafts: bool = True
    engine_args: Mapping[str, Any] = field(default_factory=dict)


def check_engine_args(arguments: Mapping[str, Any]) -> None:
    """Refuse further arguments that the search decides, or that quantise, with a ValueError."""
    for name, value in arguments.items():
        if name in OURS:
            raise ValueError(
                f"vllm.engine_args: '{name}' is not for the study to set: {OURS[name]}"
            )
        if name in _OWN_KEYS:
            raise ValueError(
                f"vllm.engine_args: '{name}' has a key of its own; write `vllm: {{{name}: ...}}`"
            )
        if name == "quantization" and value is not None:
            raise ValueError(f"vllm.engine_args: quantization: {value}: {_QUANTIZED}")


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
