"""A search on a terminal and for machines: the live picture, events, status."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
