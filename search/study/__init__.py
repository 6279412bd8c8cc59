"""The study file and the space that it searches. Knows what a user may write; no trial, no storage."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
