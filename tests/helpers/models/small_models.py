"""Tiny random models with a tokenizer, made in milliseconds: a base and its fine-tunes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DeepseekV3Config,
    GPTNeoXConfig,
    GptOssConfig,
    GraniteMoeConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    OlmoeConfig,
    PhimoeConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)
from transformers.utils import logging

from exme.search.merging.resident import ResidentModel, Sources
from exme.search.merging.sources.checkpoint import Checkpoint

WORDS = [f"w{i}" for i in range(44)]
VOCABULARY = ["<pad>", "<s>", "</s>", "<unk>", *WORDS]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"

_SIZES: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS: dict[str, Any] = {"num_key_value_heads": 1, "num_experts_per_tok": 2}
KINDS: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_SIZES, num_key_value_heads=1, tie_word_embeddings=False),
    "llama-tied": lambda: LlamaConfig(**_SIZES, num_key_value_heads=1, tie_word_embeddings=True),
    "qwen2-tied": lambda: Qwen2Config(**_SIZES, num_key_value_heads=1, tie_word_embeddings=True),
    "gpt-neox": lambda: GPTNeoXConfig(**_SIZES, tie_word_embeddings=False),
    # Mixtures of experts, which transformers 5 stacks in memory and keeps apart in files; or stacks in both.
    "mixtral": lambda: MixtralConfig(**_SIZES, **_EXPERTS, num_local_experts=4),
    "qwen2-moe": lambda: Qwen2MoeConfig(
        **_SIZES, **_EXPERTS, num_experts=4, moe_intermediate_size=8, shared_expert_intermediate_size=12
    ),
    "qwen3-moe": lambda: Qwen3MoeConfig(
        **(_SIZES | _EXPERTS | {"num_experts": 4, "moe_intermediate_size": 8, "head_dim": 8})
    ),
    "olmoe": lambda: OlmoeConfig(**_SIZES, **_EXPERTS, num_experts=4),
    "deepseek-v3": lambda: DeepseekV3Config(
        **_SIZES, num_key_value_heads=2, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, moe_intermediate_size=8, first_k_dense_replace=1, q_lora_rank=8,
        kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8, n_shared_experts=1,
    ),
    "gpt-oss": lambda: GptOssConfig(**_SIZES, **_EXPERTS, num_local_experts=4, head_dim=8),
    "granite-moe": lambda: GraniteMoeConfig(**_SIZES, **_EXPERTS, num_local_experts=4),
    "phimoe": lambda: PhimoeConfig(**_SIZES, **_EXPERTS, num_local_experts=4),
}  # fmt: skip


class CountedConfig(LlamaConfig):
    model_type = "counted_llama"


class Counted(LlamaForCausalLM):
    """A Llama with what few models have: an integer and a float tensor that are saved buffers."""

    config_class = CountedConfig

    def __init__(self, config: CountedConfig) -> None:
        super().__init__(config)
        self.register_buffer("steps", torch.tensor([7, 2**40], dtype=torch.int64))
        self.register_buffer("shift", torch.tensor([0.5, -0.25]))


AutoConfig.register("counted_llama", CountedConfig, exist_ok=True)
AutoModelForCausalLM.register(CountedConfig, Counted, exist_ok=True)


class TurnedConfig(LlamaConfig):
    model_type = "turned_llama"


class Turned(LlamaForCausalLM):
    """A Llama with a setting that only its code knows of."""

    config_class = TurnedConfig

    def forward(self, *given: Any, **named: Any) -> Any:
        found = super().forward(*given, **named)
        found.logits = found.logits * getattr(self.config, "sharpness", 1.0)
        return found


AutoConfig.register("turned_llama", TurnedConfig, exist_ok=True)
AutoModelForCausalLM.register(TurnedConfig, Turned, exist_ok=True)


def counted_config() -> CountedConfig:
    """Its configuration, as small as the others."""
    return CountedConfig(**KINDS["llama"]().to_diff_dict())


def tokenizer(vocabulary: list[str] | None = None) -> PreTrainedTokenizerFast:
    """Whole words; the vocabulary in the order of its ids."""
    words = VOCABULARY if vocabulary is None else vocabulary
    ids = {word: i for i, word in enumerate(words)}
    inner = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def make_model(
    folder: Path,
    kind: str = "llama",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    shard: str = "5GB",
    config: PretrainedConfig | None = None,
    near: Path | None = None,
) -> Path:
    """Write a random model and its tokenizer.

    Args:
        folder: where to.
        kind: one of KINDS.
        seed: of the weights.
        dtype: of the weights.
        shard: largest weight file, as transformers writes it.
        config: replaces that of `kind`.
        near: a model that this one is a fine-tune of: its weights and some noise.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    generator = torch.Generator().manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_config(config or KINDS[kind]())
    origin: Any = None if near is None else AutoModelForCausalLM.from_pretrained(near)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if origin is not None:
                parameter.copy_(origin.get_parameter(name).float() + 0.02 * noise)
            else:
                parameter.copy_(0.3 * noise)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    tokenizer().save_pretrained(folder)
    return folder


def make_family(
    folder: Path,
    kind: str = "llama",
    *,
    dtypes: tuple[torch.dtype, ...] = (torch.bfloat16,) * 3,
    shard: str = "5GB",
    config: PretrainedConfig | None = None,
) -> dict[str, Path]:
    """A base and fine-tunes ``math`` and ``code`` of it, in these dtypes, by their names."""
    made: dict[str, Path] = {}
    for seed, (name, dtype) in enumerate(zip(("base", "math", "code"), dtypes, strict=True)):
        near = made.get("base")
        made[name] = make_model(
            folder / name, kind, seed=seed, dtype=dtype, shard=shard, config=config, near=near
        )
    return made


def open_sources(family: dict[str, Path]) -> Sources:
    opened = {name: Checkpoint(name, folder) for name, folder in family.items()}
    return Sources(opened.pop("base"), opened)


def open_resident(
    family: dict[str, Path],
    *,
    dtype: torch.dtype = torch.bfloat16,
    compute_dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> ResidentModel:
    return ResidentModel(
        open_sources(family),
        dtype=dtype,
        compute_dtype=compute_dtype,
        device=torch.device(device),
    )


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a model, from all of its files."""
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def edit_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replace, add or (None) remove tensors of a single-file model; ``__`` stands for a dot."""
    tensors = load_weights(folder)
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_json(path: Path, **changes: object) -> None:
    """Replace, add or (None) remove keys of a JSON file."""
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content[key] = value
        if value is None:
            del content[key]
    path.write_text(json.dumps(content))


def turn(folder: Path, **settings: object) -> None:
    """Make all models of a study `Turned`, and ``math`` with settings of its own."""
    for name in ("base", "math", "code"):
        edit_json(folder / "models" / name / "config.json", model_type="turned_llama")
    edit_json(folder / "models" / "math" / "config.json", **settings)
