"""Everything that is settled before the first trial: sources, documents, objective, directions, costs. Proposes nothing and scores no candidate."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
