"""What to score next, from the history alone. Knows no storage, scores nothing and loads no torch."""
