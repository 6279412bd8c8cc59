"""Exports with their papers: model card, lm-eval's results, upload."""
