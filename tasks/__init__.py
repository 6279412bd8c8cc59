"""Floor 0: the suites, their documents and the mini models."""
