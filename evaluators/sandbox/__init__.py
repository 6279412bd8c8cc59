"""Generated programs, run where they can do no harm; docs/sandbox.md says why and how far."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
