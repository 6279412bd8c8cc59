"""Intervals of scores and paired differences with tests that agree with them. Knows scores by document; no study, no trial."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
