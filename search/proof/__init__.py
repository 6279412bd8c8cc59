"""Report documents: who is scored there, which use of them it is, and the verdict. Proposes nothing; search documents play no part in it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
