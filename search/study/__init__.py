"""The study file and the space that it searches. Knows what a user may write; no trial, no storage."""
