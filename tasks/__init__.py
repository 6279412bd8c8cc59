"""The suites, their documents and the mini models. Knows no model but these, and nothing of merging or searching."""
