"""Notes and pictures for optuna-dashboard."""
