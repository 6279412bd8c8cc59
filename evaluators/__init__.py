"""A model and a suite in, per-document scores out. Knows nothing of merging, and nothing of a search."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
