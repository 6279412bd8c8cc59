"""Floor 1: a model and a suite in, per-document scores out."""
