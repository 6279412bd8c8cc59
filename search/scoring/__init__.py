"""A candidate in, scores out. Knows the live model and the judges; no history."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
