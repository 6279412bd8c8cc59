"""A candidate in, scores out. Knows the live model and the judges; no history."""
