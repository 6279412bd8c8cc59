"""What is merged: checkpoints, adapters and task vectors, their files, where they lie and how they fit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
