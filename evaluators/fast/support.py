"""Whether the fast engine fits a model: asked of the configuration, then of the model itself.

Architectures are not listed: what counts is that every layer attends through transformers'
attention interface, to keys of its own, with nothing that our attention leaves out. A probe runs
both ways on a few tokens and compares the logits.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import GenerationConfig, PreTrainedModel

from exme.evaluators.fast.attention import forward, shared_prefix_attention
from exme.evaluators.fast.memory import Budget
from exme.evaluators.fast.nodes import prepare, take_places
from exme.evaluators.fast.profile import Profile
from exme.evaluators.fast.prompts import KVCache, Leaf, Node, Piece

_ATTENTION = {"full_attention", "sliding_attention"}
# Rotary embeddings that change with the length of the whole sequence, prefix and answer: a shared
# prefix, computed alone, would have another rotation.
_ROPE_BY_LENGTH = {"dynamic", "longrope"}
# Generation settings that cannot change what greedy decoding to a given length answers: they are for
# sampling, for speed, for other outputs, or are set by lm-eval itself.
_HARMLESS = {
    "max_length", "do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p",
    "epsilon_cutoff", "eta_cutoff", "early_stopping", "length_penalty", "diversity_penalty",
    "renormalize_logits", "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id",
    "use_cache", "cache_implementation", "cache_config", "max_cache_len", "compile_config",
    "disable_compile", "low_memory", "prefill_chunk_size", "continuous_batching_config",
    "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "transformers_version",
}  # fmt: skip
# Of the others, the values that say the same as nothing.
_NOTHING: dict[str, tuple[object, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "guidance_scale": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "penalty_alpha": (0,),
}


def why_not_greedy(config: GenerationConfig) -> str | None:
    """What in a model's generation settings is more than greedy decoding; None where nothing is.

    Settings that nobody here knows count as more.
    """
    for name, value in config.to_diff_dict().items():
        nothing = value is None or value is False or value == [] or value in _NOTHING.get(name, ())
        if name not in _HARMLESS and not name.startswith("_") and not nothing:
            return f"its generation settings have {name}: {value}"
    return None


def _rope_types(parameters: object) -> set[str]:
    """Kinds of rotary embeddings in a configuration, which may have one for each kind of layer."""
    if not isinstance(parameters, Mapping):
        return set()
    kind = parameters.get("rope_type", parameters.get("type"))
    found = {kind} if isinstance(kind, str) else set()
    return found.union(*(_rope_types(value) for value in parameters.values()))


def why_not_supported(model: PreTrainedModel) -> str | None:
    """Why the fast engine cannot run a model; None where it can."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - _ATTENTION
    if kinds:
        return f"it has layers of kind {', '.join(sorted(kinds))}, whose state cannot be shared"
    ropes = _rope_types(getattr(config, "rope_parameters", None)) & _ROPE_BY_LENGTH
    if ropes:
        return f"its rotary embeddings ({', '.join(ropes)}) change with the sequence's length"
    devices = {parameter.device.type for parameter in model.parameters()}
    if devices != {"cpu"}:
        alone = f"it is on {model.device}, and the fast engine is for CPUs"
        return alone if len(devices) == 1 else "it is spread over several devices"
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
    cache = KVCache(len(shared) + 16)
    places = [len(shared), len(shared) + 8]
    with shared_prefix_attention(model):
        take_places(leaves[0], cache)
        prepare(model, leaves, cache, Budget(0, 64, 2), Profile())
        enter = [
            Piece(leaf.own, leaf.start, 0, leaf.chain, place, 1)
            for leaf, place in zip(leaves, places, strict=True)
        ]
        begun = forward(model, enter, cache)
        parts = zip(leaves, (more[:3], more[3:]), places, strict=True)
        going = [
            Piece(tokens, leaf.start, len(leaf.own), leaf.chain, place, len(tokens))
            for leaf, tokens, place in parts
        ]
        gone = forward(model, going, cache)
    ours = torch.cat([begun[:1], gone[:3], begun[1:], gone[3:]]).float()
    return float((ours - wanted).abs().max()), float(wanted.std())
