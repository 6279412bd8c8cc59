"""The only door to Optuna's storage: trials, what is kept of a study, locks, hearts and patience. Decides nothing."""
