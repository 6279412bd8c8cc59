"""Whether the fast engine fits a model: asked of the configuration, then of the model itself.

Architectures are not listed: what counts is that every layer attends through transformers'
attention interface, to keys of its own, with nothing that our attention leaves out. A probe runs
both ways on a few tokens and compares the logits.
"""

from __future__ import annotations

import torch
from transformers import GenerationConfig, PreTrainedModel

from .cache import RowCache
from .memory import Budget
from .nodes import prepare
from .passes import Piece, forward, shared_prefix_attention
from .prefix_tree import Leaf, Node
from .profile import Profile

_ATTENTION = {"full_attention", "sliding_attention"}
# What changes greedy decoding, and the values at which it does not.
_PLAIN: dict[str, tuple[object, ...]] = {
    "num_beams": (None, 1),
    "repetition_penalty": (None, 1.0),
    "encoder_repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "bad_words_ids": (None, []),
    "sequence_bias": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "exponential_decay_length_penalty": (None,),
    "remove_invalid_values": (None, False),
    "guidance_scale": (None, 1, 1.0),
    "watermarking_config": (None,),
    "stop_strings": (None,),
    "max_time": (None,),
    "penalty_alpha": (None, 0.0),
    "dola_layers": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
}


def why_not_greedy(config: GenerationConfig) -> str | None:
    """What in a model's generation settings is more than greedy decoding; None where nothing is."""
    for name, plain in _PLAIN.items():
        value = getattr(config, name, None)
        if value not in plain:
            return f"its generation settings have {name}: {value}"
    return None


def why_not_supported(model: PreTrainedModel) -> str | None:
    """Why the fast engine cannot run a model; None where it can."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - _ATTENTION
    if kinds:
        return f"it has layers of kind {', '.join(sorted(kinds))}, whose state cannot be shared"
    if len({parameter.device for parameter in model.parameters()}) != 1:
        return "it is spread over several devices"
    try:
        difference, spread = probe(model)
    except Exception as error:  # noqa: BLE001  (whatever a foreign architecture may raise)
        return f"it does not run with shared prefixes ({type(error).__name__}: {error})"
    # float32 agrees to six digits; bfloat16 has three.
    allowed = {torch.float32: 1e-3, torch.float64: 1e-6}.get(model.dtype, 0.1)
    if not difference <= allowed * spread:
        return f"its logits change with shared prefixes (by {difference:.2g} of {spread:.2g})"
    return None


def probe(model: PreTrainedModel) -> tuple[float, float]:
    """Compare logits of the plain model and of packed passes with a shared node and a cache.

    Returns:
        The largest difference of a logit, and the spread (standard deviation) of the logits.
    """
    vocabulary = int(model.config.get_text_config().vocab_size)
    draw = torch.Generator().manual_seed(0)
    shared, first, second = (
        torch.randint(vocabulary, (size,), generator=draw).tolist() for size in (9, 5, 3)
    )
    more = torch.randint(vocabulary, (4,), generator=draw).tolist()
    rows = [[*shared, *first, *more[:3]], [*shared, *second, *more[3:]]]
    with torch.inference_mode():
        plain = [
            model(torch.tensor([row], device=model.device), use_cache=False).logits[0]
            for row in rows
        ]
    wanted = torch.cat([plain[0][-4:], plain[1][-2:]]).float()
    node = Node(tuple(shared), 0, None, users=2)
    leaves = [Leaf(0, node, tuple(first)), Leaf(1, node, tuple(second))]
    cache = RowCache(2, 8)
    with shared_prefix_attention(model):
        prepare(model, leaves, Budget(0, 64, 2), Profile())
        enter = [
            Piece(leaf.own, leaf.start, 0, leaf.chain, slot, 1) for slot, leaf in enumerate(leaves)
        ]
        begun, _ = forward(model, enter, cache)
        parts = zip(leaves, (more[:3], more[3:]), strict=True)
        going = [
            Piece(tokens, leaf.start, len(leaf.own), leaf.chain, slot, len(tokens))
            for slot, (leaf, tokens) in enumerate(parts)
        ]
        gone, _ = forward(model, going, cache)
    ours = torch.cat([begun[:1], gone[:3], begun[1:], gone[3:]]).float()
    return float((ours - wanted).abs().max()), float(wanted.std())
