"""Models served by vLLM: settings, starting and ending the engine, drafts, the probe. Knows no study, no candidate."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
