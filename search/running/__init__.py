"""The loop: trials are claimed, scored and saved; what is said on the way; the search as Python sees it. Decides nothing: `proposing` does."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
