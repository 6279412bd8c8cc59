"""Races between candidates on documents: draws, estimates, tests that may be looked at any time, goals, beliefs. Knows arrays of outcomes alone."""
