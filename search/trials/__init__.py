"""What a trial is and what is known of each candidate: records, ranking, budget, scores as people see them. Knows no storage, and makes no proposal."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
