"""A model and a suite in, per-document scores out. Knows nothing of merging, and nothing of a search."""
