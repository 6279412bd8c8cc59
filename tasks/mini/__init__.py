"""Mini models and mini data: everything a search needs, offline, made by the scripts in here."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).parent / "models"
MODEL_NAMES = ("base", "sums", "products")


def model_path(name: str) -> Path:
    """Return the folder of a mini model, one of MODEL_NAMES.

    Raises:
        KeyError: when there is no such mini model.
    """
    if name not in MODEL_NAMES:
        raise KeyError(f"no mini model {name!r}; expected one of {', '.join(MODEL_NAMES)}")
    return MODELS / name
