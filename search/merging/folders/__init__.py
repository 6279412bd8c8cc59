"""Merged models on the disk: written in streams, read back, with the recipes that make them again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
