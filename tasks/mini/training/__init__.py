"""How the mini models were trained: `python -m exme.tasks.mini.training.train`. Knows the mini suites and torch; no search."""
