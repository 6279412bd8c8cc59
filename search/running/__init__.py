"""The loop: turns, rounds, what is said on the way, and the search as Python sees it."""
