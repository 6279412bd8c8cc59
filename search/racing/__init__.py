"""Races between candidates on documents: draws, estimates, tests that may be looked at any time, goals, a surrogate. Knows arrays of outcomes alone."""
