"""Intervals of scores and paired differences with tests that agree with them. Knows scores by document; no study, no trial."""
