"""The suites, their documents and the mini models. Knows no model but these, and nothing of merging or searching."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
