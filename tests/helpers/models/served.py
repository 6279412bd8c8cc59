"""Models that vLLM's workers can share on a CPU, and engines over them."""

from __future__ import annotations

from collections.abc import Callable

from transformers import LlamaConfig

from exme.evaluators.vllm.engine import VllmEngine
from exme.search.merging.sources.sources import Sources
from tests.helpers.models.small_models import KINDS

Open = Callable[..., VllmEngine]


def eight_heads() -> LlamaConfig:
    """A Llama that two workers can share; vLLM on a CPU wants heads of 32."""
    settings = KINDS["llama"]().to_diff_dict() | {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 8,
        "head_dim": 32,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    }
    return LlamaConfig(**settings)


def begin(engine: VllmEngine, sources: Sources, residence: str = "auto") -> None:
    engine.begin(
        {
            "base": str(sources.base.folder),
            "checkpoints": {name: str(c.folder) for name, c in sources.checkpoints.items()},
            "union": sources.union is not None,
            "dtype": "bfloat16",
            "residence": residence,
        }
    )
