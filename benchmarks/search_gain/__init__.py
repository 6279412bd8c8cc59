"""What a search gains on documents that it has not seen, beside grids, lines, chance and Optuna's samplers."""
