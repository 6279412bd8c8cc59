"""Checkpoints in, one merged model out. Knows weights, methods and folders; no study, no trial, no score."""
