"""One forward pass over the tokens of many rows, packed one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from exme.evaluators.fast.prompts import KVCache, Piece, Rows, tokens_of

from .attention import NAME, NEEDED
from .layout import Layout, segments_of
from .products import faster_products


@contextmanager
def shared_prefix_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model's attention go through ours, and its products, without gradients; puts back what was there."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        with torch.inference_mode(), faster_products(model):
            yield
    finally:
        model.set_attn_implementation(before)


def forward(
    model: PreTrainedModel,
    pieces: Sequence[Piece],
    cache: KVCache,
    *,
    keep: bool = True,
) -> Tensor:
    """Run the model on pieces.

    Args:
        model: inside `shared_prefix_attention`.
        pieces: leaves of a node follow each other.
        cache: where the nodes' keys and values are, and where the pieces' are kept.
        keep: whether a later pass needs the pieces' tokens; then each has a place.

    Returns:
        Logits of the wanted tokens, shape [sum of wanted, vocabulary].
    """
    rows = Rows.of(pieces)
    own = rows.own()
    positions = own + np.repeat(rows.starts, rows.lengths)
    in_cache = own + np.repeat(rows.places, rows.lengths)
    arrays = [tokens_of(pieces), positions, in_cache, rows.kept()]
    ids, at, places, wanted = map(torch.from_numpy, arrays)
    segments = segments_of(pieces, rows, positions)
    layout = Layout(at, rows, segments, cache, places if keep else None)
    needed: dict[str, Any] = {NEEDED: layout}
    logits: Tensor = model(
        input_ids=ids[None],
        position_ids=at[None],
        use_cache=False,
        logits_to_keep=wanted,
        **needed,
    ).logits[0]
    return logits
