"""Checkpoints in, one merged model out. Knows weights, methods and folders; no study, no trial, no score."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
