"""The only door to Optuna's storage: trials, what is kept of a study, locks, heartbeats of workers, retries while the database is away. Decides nothing, and knows no model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
