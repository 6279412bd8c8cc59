"""SLERP of two task vectors, tensor by tensor: along the arc between them, not the chord.

    delta_i = theta_i - base,  cos(omega) = delta_1 . delta_2 / (|delta_1| |delta_2|)
    candidate = base + s [ sin((1 - t) omega) delta_1 + sin(t omega) delta_2 ] / sin(omega)

The coefficients say t and s: c_1 = s (1 - t), c_2 = s t. At t = 0 and t = 1 with s = 1 it is a
checkpoint itself. Where the two are nearly parallel the arc is the chord, and c_i stays as it is;
likewise where c_1 + c_2 = 0, which no t describes.

mergekit interpolates the weights themselves, about the origin; this is the same formula about the
base, which is where fine-tunes differ.

Source: Shoemake 1985, Animating rotation with quaternion curves, SIGGRAPH 19(3), sec. 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from exme.tasks import UserError

from .method import Coefficients, Facts, KnownPoint, Merge, Method, Parameters, Term, is_alone

PARALLEL = 0.9995  # mergekit's threshold


class Slerp(Method):
    """Two task vectors, interpolated along the arc between them."""

    name = "slerp"
    title = "SLERP"
    paper = "Shoemake 1985"

    @classmethod
    def check(cls, checkpoints: Sequence[str]) -> None:
        """Refuse all but two checkpoints."""
        if len(checkpoints) != 2:
            raise UserError(
                f"method 'slerp' goes from one checkpoint to another, the study has "
                f"{len(checkpoints)} ({', '.join(checkpoints)}); give two, or use `method: exme`"
            )

    def starts(self) -> list[KnownPoint]:
        """Halfway along the arc."""
        return [KnownPoint("halfway", self.mean(), method=self.name)]

    @classmethod
    def is_plain(cls, coefficients: Coefficients, parameters: Parameters) -> bool:
        """At either end of the arc."""
        return is_alone(coefficients)

    @classmethod
    def instruct(cls, coefficients: Coefficients, parameters: Parameters, facts: Facts) -> Merge:
        """See `Method.instruct`."""
        total = sum(coefficients.values())
        if is_alone(coefficients) or abs(total) < 1e-6:
            return Merge(tuple(Term(name, c) for name, c in coefficients.items()))
        (one, first), (other, second) = coefficients.items()
        cosine = facts.cosine(one, other)
        if abs(cosine) > PARALLEL:
            return Merge((Term(one, first), Term(other, second)))
        omega, t = math.acos(cosine), second / total
        arc = (math.sin((1 - t) * omega) / math.sin(omega), math.sin(t * omega) / math.sin(omega))
        return Merge((Term(one, total * arc[0]), Term(other, total * arc[1])))
