"""Exports with their papers: model card, lm-eval's results, upload."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
