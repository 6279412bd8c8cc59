"""How differences are written for people."""

from __future__ import annotations

import pytest

from exme.search.trials.unit import Unit


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0721, "7.2 points"),
        (-0.00003, "-0.003 points"),
        (0.0, "0.0 points"),
        (1e-13, "0.0 points"),
    ],
)
def test_a_difference_has_the_digits_that_tell_it_from_none(value: float, told: str) -> None:
    """A sum of shares is off by 1e-13 or so: that is no difference."""
    assert Unit().gap(value) == told
