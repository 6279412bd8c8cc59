"""The only door to Optuna's storage: trials, what is kept of a study, locks, heartbeats of workers, retries while the database is away. Decides nothing, and knows no model."""
