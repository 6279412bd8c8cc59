"""The fast engine: hundreds of nearly identical models answer the same prompts, greedily and exactly.

`FastEngine` answers what lm-eval's `hf` model answers. It knows models, tokens and lm-eval's settings (`reference`); no
task, no score, no study. docs/engine.md says how it works.
"""

from .attention import kernel as attention_kernel
from .decoding import DraftStore
from .engine import FastEngine
from .reference import Generation

__all__ = ["DraftStore", "FastEngine", "Generation", "attention_kernel"]
