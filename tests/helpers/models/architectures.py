"""Small configurations of the architectures that people merge, with the mini models' vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers as hf

from tests.helpers.models.shapes import VOCABULARY

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
_GROUPED: dict[str, Any] = _SIZES | {"num_key_value_heads": 2}
_HEADS: dict[str, Any] = _GROUPED | {"head_dim": 8}
_EXPERTS: dict[str, Any] = _GROUPED | {"num_experts_per_tok": 2}
_NARROW: dict[str, Any] = {"num_experts": 4, "moe_intermediate_size": 16}
_GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512,
    "bos_token_id": None, "eos_token_id": 1,
}  # fmt: skip
_LAYERS: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1,
}  # fmt: skip


def _llama(rope: str | None = None, **settings: Any) -> Callable[[], hf.PretrainedConfig]:
    turned = {"rope_parameters": {"rope_theta": 1e4, "rope_type": rope, **settings}}
    return lambda: hf.LlamaConfig(**_GROUPED, **(settings if rope is None else turned))


# Windows of 24 tokens are shorter than prompts.
ARCHITECTURES: dict[str, Callable[[], hf.PretrainedConfig]] = {
    "gpt2": lambda: hf.GPT2Config(**_GPT2),
    "gpt-neox": lambda: hf.GPTNeoXConfig(**_SIZES),
    "gptj": lambda: hf.GPTJConfig(**_GPT2, rotary_dim=4),
    "gpt-neo": lambda: hf.GPTNeoConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_layers=2, num_heads=4, window_size=24,
        attention_types=[[["global", "local"], 1]], max_position_embeddings=512, eos_token_id=1,
    ),
    "opt": lambda: hf.OPTConfig(
        **_LAYERS, ffn_dim=48, max_position_embeddings=512, word_embed_proj_dim=32
    ),
    "bloom": lambda: hf.BloomConfig(
        vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, eos_token_id=1
    ),
    "mpt": lambda: hf.MptConfig(
        vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4, max_seq_len=512, eos_token_id=1
    ),
    "falcon": lambda: hf.FalconConfig(**_LAYERS, alibi=False),
    "falcon-alibi": lambda: hf.FalconConfig(**_LAYERS, alibi=True),
    "qwen2": lambda: hf.Qwen2Config(**_GROUPED),
    "qwen2-window": lambda: hf.Qwen2Config(
        **_GROUPED, use_sliding_window=True, sliding_window=24, max_window_layers=1
    ),
    "qwen3": lambda: hf.Qwen3Config(**_HEADS),
    "gemma": lambda: hf.GemmaConfig(**_HEADS),
    "gemma2": lambda: hf.Gemma2Config(**_HEADS, sliding_window=24, query_pre_attn_scalar=8),
    "gemma3": lambda: hf.Gemma3TextConfig(**_HEADS, sliding_window=24, query_pre_attn_scalar=8),
    "mistral": lambda: hf.MistralConfig(**_GROUPED, sliding_window=24),
    "llama-bias": _llama(attention_bias=True, mlp_bias=True),
    "llama3": _llama(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64,
    ),
    "llama-linear": _llama("linear", factor=2.0),
    "llama-yarn": _llama("yarn", factor=2.0, original_max_position_embeddings=256),
    "llama-dynamic": _llama("dynamic", factor=2.0),
    "mixtral": lambda: hf.MixtralConfig(**_EXPERTS, num_local_experts=4),
    "qwen2-moe": lambda: hf.Qwen2MoeConfig(
        **_EXPERTS, **_NARROW, shared_expert_intermediate_size=24
    ),
    "qwen3-moe": lambda: hf.Qwen3MoeConfig(**_EXPERTS | _NARROW | {"head_dim": 8}),
    "olmoe": lambda: hf.OlmoeConfig(**_EXPERTS, num_experts=4),
    "phi": lambda: hf.PhiConfig(**_SIZES | {"partial_rotary_factor": 0.5}),
    "phi3": lambda: hf.Phi3Config(**_GROUPED),
    "phi3-window": lambda: hf.Phi3Config(**_GROUPED, sliding_window=24),
    "olmo": lambda: hf.OlmoConfig(**_GROUPED, clip_qkv=4.0),
    "olmo2": lambda: hf.Olmo2Config(**_GROUPED),
    "stablelm": lambda: hf.StableLmConfig(**_GROUPED),
    "starcoder2": lambda: hf.Starcoder2Config(**_GROUPED),
    "cohere": lambda: hf.CohereConfig(**_GROUPED),
    "cohere2": lambda: hf.Cohere2Config(**_GROUPED, sliding_window=24),
    "granite": lambda: hf.GraniteConfig(
        **_GROUPED, embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.5,
        attention_multiplier=0.2,
    ),
    "deepseek-v3": lambda: hf.DeepseekV3Config(
        **_SIZES, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, moe_intermediate_size=16, first_k_dense_replace=1, q_lora_rank=8,
        kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8, n_shared_experts=1,
    ),
    "mamba": lambda: hf.MambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4, eos_token_id=1
    ),
    "smollm3": lambda: hf.SmolLM3Config(**_GROUPED | {"num_hidden_layers": 4}),
    "gpt-oss": lambda: hf.GptOssConfig(
        **_EXPERTS, num_local_experts=4, head_dim=8, sliding_window=24
    ),
    "glm4": lambda: hf.Glm4Config(**_HEADS | {"partial_rotary_factor": 0.5}),
    "gpt-bigcode": lambda: hf.GPTBigCodeConfig(**_GPT2),
}  # fmt: skip
# Those whose attention cannot be shared: lm-eval's model answers.
STOCK = {
    "gptj", "gpt-neo", "bloom", "mpt", "falcon", "falcon-alibi", "llama-dynamic", "stablelm", "mamba", "gpt-oss",
}  # fmt: skip
