"""Merged models on the disk: written in streams, read back, with the recipes that make them again."""
