"""ExPO: one checkpoint, extrapolated from the base.

    candidate = theta + alpha (theta - base) = base + (1 + alpha) (theta - base)

Source: arXiv:2404.16792, eq. 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from exme.tasks import UserError

from .exme import ExMe


class ExPO(ExMe):
    """One checkpoint: c = 1 + alpha."""

    name = "expo"
    title = "ExPO"
    paper = "arXiv:2404.16792"

    @classmethod
    def check(cls, checkpoints: Sequence[str]) -> None:
        """Refuse all but one checkpoint."""
        if len(checkpoints) != 1:
            raise UserError(
                f"method 'expo' extrapolates exactly one checkpoint, the study has "
                f"{len(checkpoints)} ({', '.join(checkpoints)}); use `method: exme` for several"
            )
