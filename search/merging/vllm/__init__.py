"""Merging inside vLLM's workers: one more place that holds weights, in the engine's fused, sharded layout.

Only `transfer` imports vLLM, and only vLLM's processes import `transfer`.
"""
