"""Directions: the literature's merge methods as places for a search to start.

A direction is computed once, from the base, the checkpoints and, where its method needs them, search
documents; never report documents. It gives new task vectors, which enter the search as one more source,
or starting coefficients, which enter as a first trial. `catalogue` is the list of them and needs no
torch; each method is a module of its own, imported when it is computed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
