"""Every test of directions is quick, and computes in float64 where it asks for it."""

from tests.helpers.models.directions import quick_and_wide

__all__ = ["quick_and_wide"]
