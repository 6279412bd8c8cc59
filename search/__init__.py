"""The search over coefficients, and the Python interface to it.

    from exme.search import open_search

The names of `__init__.pyi` are loaded when they are first used, so that importing is quick.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
