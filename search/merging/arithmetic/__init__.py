"""How a tensor is merged, in torch or compiled: tensors in, tensor out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
