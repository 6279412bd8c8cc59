"""The fast engine: hundreds of nearly identical models answer the same prompts, greedily and exactly.

`engine.FastEngine` answers what lm-eval's `hf` model answers. docs/engine.md says how.
"""
