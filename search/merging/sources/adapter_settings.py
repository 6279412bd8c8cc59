"""What an adapter_config.json says: whether base + scale * B @ A is all there is to it, and the scale.

Source: peft 0.21, `tuners/lora/config.py` and `layer.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from exme.tasks import UserError

# What can keep `re` busy for years: repeated groups, and many repetitions in a row.
_SLOW = re.compile(r"\)[*+{?]|([*+{].*){4}|.{300}", re.DOTALL)
# Settings that make an adapter more than scale * B @ A.
_MORE = {
    "use_dora": "DoRA",
    "use_bdlora": "BD-LoRA",
    "use_qalora": "QALoRA",
    "alora_invocation_tokens": "aLoRA",
    "arrow_config": "Arrow",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "lora_bias": "biases of its own (lora_bias)",
    "trainable_token_indices": "single tokens' embeddings (trainable_token_indices)",
    "layer_replication": "repeated layers (layer_replication)",
    "target_parameters": "parameters without a module (target_parameters)",
}
# Initialisations that leave the base as it is. Others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) take part of the
# base's weights away: what was trained is base + scale * (B @ A - B0 @ A0).
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
_MERGE_IT = "merge it into its base with peft's `merge_and_unload()` and save that"


def check_settings(name: str, folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse an adapter that is no LoRA, or more than that.

    Raises:
        UserError: names what it is.
    """
    who = f"checkpoint '{name}'"
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UserError(
            f"{who}: {folder} holds a PEFT adapter of type {kind}, expected LORA; {_MERGE_IT}"
        )
    _check_scale(f"{who}: {folder / 'adapter_config.json'}", config)
    more = list(_more(config))
    if more:
        raise UserError(
            f"{who}: {folder} uses {', '.join(more)}, which is more than scale * B @ A; {_MERGE_IT}"
        )
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        raise UserError(
            f"{who}: {folder} was begun with init_lora_weights: {start}, which takes part of the base's weights "
            f"away: it is no sum of this base and an adapter; {_MERGE_IT}, or have peft convert it "
            f"(`save_pretrained(..., path_initial_model_for_weight_conversion=...)`)"
        )


def _more(config: Mapping[str, Any]) -> Iterator[str]:
    yield from (title for key, title in _MORE.items() if config.get(key))
    if config.get("bias", "none") != "none":
        yield f"bias: {config['bias']}"


def _check_scale(file: str, config: Mapping[str, Any]) -> None:
    """Refuse an alpha that is no number, and a pattern that no adapter needs."""
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise UserError(f"{file}: alpha_pattern: expected patterns and numbers, found a list")
    alphas = {"lora_alpha": config.get("lora_alpha", 8), **patterns}
    for key, alpha in alphas.items():
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not _is_finite(alpha):
            shown = key if key == "lora_alpha" else f"alpha_pattern '{key}'"
            raise UserError(f"{file}: {shown}: expected a number, found {alpha!r}")
    for pattern in patterns:
        if _SLOW.search(pattern) or not _is_regular(pattern):
            raise UserError(
                f"{file}: alpha_pattern '{pattern}': expected a plain regular expression over "
                f"names of modules"
            )


def scale_of(config: Mapping[str, Any], module: str, rank: int) -> float:
    """By what B @ A of a module is multiplied: alpha of the first pattern that its name ends in, over the rank.

    Args:
        module: its name in the base.
    """
    alpha = config.get("lora_alpha", 8)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
            break
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _is_regular(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
