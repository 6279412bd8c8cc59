"""How an engine's memory is divided: weights, sources and the cache of keys and values, on each GPU.

    cache of one token = 2 x layers x key-value heads x head size x bytes of a value / GPUs that share the model

Source: vLLM divides `gpu_memory_utilization` of a GPU among weights, activations and cache; what lies beside it
(here the sources) has the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIB = 2**30
# Of a GPU: for CUDA's context, graphs and the activations of a step.
OVERHEAD = 2 * GIB
# Share of a GPU that is never planned for.
SPARE = 0.06
# Tokens that the cache should hold: so many answers beside each other, of so many tokens.
ROWS, TOKENS = 32, 1024


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory.

    Attributes:
        parameters: number of weights.
        layers: with a cache.
        kv_heads: key-value heads.
        head: size of a head.
    """

    parameters: int
    layers: int
    kv_heads: int
    head: int

    def cache_of_token(self, itemsize: int, parts: int) -> int:
        """Bytes of keys and values of one token on each of `parts` GPUs."""
        heads = math.ceil(self.kv_heads / parts)
        return 2 * self.layers * heads * self.head * itemsize


@dataclass(frozen=True)
class Plan:
    """Bytes on each GPU.

    Attributes:
        weights: of the live model; `sources` of base and checkpoints, wherever they are.
        place: where the sources are: ``device``, or ``host``.
        cache: keys and values; 0 or less where the model does not fit.
        cache_tokens: tokens that it holds.
        utilization: what vLLM is told for `gpu_memory_utilization`.
    """

    weights: int
    sources: int
    place: str
    cache: int
    cache_tokens: int
    utilization: float

    @property
    def fits(self) -> bool:
        """Whether there is a cache at all."""
        return self.cache_tokens > 0

    def told(self, parts: int) -> str:
        """In words, for each of the GPUs that share the model."""
        beside = f"{gib(self.sources / parts)} of sources, " if self.place == "device" else ""
        return (
            f"Memory of each GPU: {gib(self.weights)} of weights, {beside}{gib(self.cache)} of cache "
            f"({self.cache_tokens:,} tokens), {gib(OVERHEAD)} for all else."
        )


def shape_of(config: Mapping[str, Any], parameters: int) -> Shape:
    """From config.json, as transformers names things."""
    text = config.get("text_config") or config
    heads = int(text.get("num_attention_heads") or text.get("n_head") or 1)
    hidden = int(text.get("hidden_size") or text.get("n_embd") or heads)
    return Shape(
        parameters,
        int(text.get("num_hidden_layers") or text.get("n_layer") or 1),
        int(text.get("num_key_value_heads") or heads),
        int(text.get("head_dim") or hidden // heads),
    )


def plan(
    shape: Shape,
    *,
    itemsize: int,
    sources: int,
    gpu: int,
    parts: int,
    longest: int,
    utilization: float | None = None,
    residence: str = "auto",
) -> Plan:
    """Divide a GPU's memory.

    Args:
        shape: of the model.
        itemsize: bytes of a weight, and of a value in the cache.
        sources: bytes of base and checkpoints.
        gpu: bytes of one GPU.
        parts: GPUs that share the model.
        longest: most tokens of a sequence, which the cache has to hold at least.
        utilization: what the study says; None leaves room for the sources where they fit.
        residence: what the study says.
    """
    weights = shape.parameters * itemsize // parts
    per_token = shape.cache_of_token(itemsize, parts)
    wanted = per_token * max(longest, ROWS * TOKENS)
    share = sources // parts
    room = int(gpu * (1 - SPARE)) - OVERHEAD - weights
    if utilization is not None:
        beside = gpu * (1 - SPARE / 2) - gpu * utilization
        on_device = residence == "device" or (residence == "auto" and share <= beside)
        cache = int(gpu * utilization) - OVERHEAD - weights
    else:
        on_device = residence == "device" or (residence == "auto" and share + wanted <= room)
        cache = room - share if on_device else room
        utilization = math.floor(100 * (cache + OVERHEAD + weights) / gpu) / 100
    tokens = cache // per_token if cache >= per_token * longest else 0
    place = "device" if on_device else residence if residence == "mapped" else "host"
    return Plan(weights, sources, place, cache, tokens, utilization)


def gib(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.0f} MiB"
