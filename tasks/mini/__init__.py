"""Mini models and mini data: everything a search needs, offline, made by the scripts in here."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).parent / "models"
DATA = Path(__file__).parent / "data"
MODEL_NAMES = ("base", "sums", "products")
