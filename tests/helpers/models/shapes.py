"""Small random models of several architectures, with the mini models' tokeniser, and requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    GemmaConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
)

from exme.evaluators.harness import StockEngine
from exme.tasks.documents import MINI_DATA

MINI_MODELS = MINI_DATA.parent / "models"
VOCABULARY: int = json.loads((MINI_MODELS / "base" / "config.json").read_text())["vocab_size"]
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
}
_GROUPED: dict[str, Any] = {**_SIZES, "num_key_value_heads": 2, "head_dim": 16}
SHAPES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_GROUPED),
    "qwen2": lambda: Qwen2Config(**_SIZES, num_key_value_heads=2),
    # Windows shorter than prompts: some see none of the shared prefix.
    "mistral": lambda: MistralConfig(**_GROUPED, sliding_window=24),
    "gemma": lambda: GemmaConfig(**_GROUPED),
    "gemma2": lambda: Gemma2Config(
        **_GROUPED, sliding_window=24, query_pre_attn_scalar=8, attn_logit_softcapping=20.0
    ),
    "gpt-neox": lambda: GPTNeoXConfig(**_SIZES),
}
SHARED = "A box holds 12 apples and 7 pears. Each pear weighs 3 grams, and each apple 5. " * 3
QUESTIONS = (
    "How many fruits are there?",
    "How many fruits are there in 2 boxes?",
    "Sam eats 4 apples.",
    "How heavy is the box?\nAnswer:",
    "x",
)


@dataclass(frozen=True)
class Asked:
    """A request, as engines read it."""

    args: tuple[Any, ...]


def tokenizer() -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(MINI_MODELS / "base")
    return found


@cache
def make(shape: str, seed: int = 0, attention: str | None = None) -> Any:
    """A random model whose logits are spread, so that hardly any choice is a near tie."""
    model = AutoModelForCausalLM.from_config(SHAPES[shape](), attn_implementation=attention)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.2 if parameter.ndim > 1 else 0.1
            centre = 1.0 if "norm" in name and "weight" in name and "gemma" not in shape else 0.0
            parameter.copy_(centre + scale * noise)
    return model.eval()


def stock(model: Any, batch_size: int) -> StockEngine:
    return StockEngine(model, tokenizer(), batch_size)


def prompts() -> list[str]:
    """Some share a long prefix, some a longer one, some none."""
    return [
        *(SHARED + question for question in QUESTIONS),
        *(SHARED + QUESTIONS[0] + " Now " + question for question in QUESTIONS),
        *QUESTIONS,
    ]


def generations(contexts: Sequence[str], until: Sequence[str] = (), most: int = 20) -> list[Any]:
    settings = {"until": list(until), "max_gen_toks": most, "do_sample": False}
    return [Asked((context, settings)) for context in contexts]


def least_gap(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """How near the plain model's choices along an answer come to a tie; 0 where one is another.

    Returns:
        The least difference, over the answer's tokens, of the logit of the token that was chosen
        and the next highest; negative where the token is not the model's choice.
    """
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    chosen = torch.tensor(answer)[:, None]
    own = logits.gather(1, chosen)
    rest = logits.scatter(1, chosen, float("-inf")).amax(1, keepdim=True)
    return float((own - rest).min())
