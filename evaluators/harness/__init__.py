"""lm-eval behind one door: nothing outside this folder imports it.

`judge` scores engines, `task` builds lm-eval's tasks over documents of our choice, `stock` is lm-eval's own
model over the resident one, `finite` watches its logits, `verify` has lm-eval score the same documents by
itself.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
