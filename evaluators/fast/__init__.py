"""The fast engine: hundreds of nearly identical models answer the same prompts, greedily and exactly.

`FastEngine` answers what lm-eval's `hf` model answers. It knows models, tokens and lm-eval's settings (`reference`); no
task, no score, no study. docs/engine.md says how it works.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
