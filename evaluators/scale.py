"""How a metric's values become scores that are better when higher, and which metrics have bounds."""

from __future__ import annotations

from dataclasses import dataclass

# Metrics without bounds, or with others than 0 and 1: by name, and by what their names hold.
_UNBOUNDED = ("bleu", "chrf", "loss", "nll", "ter", "wer", "cer", "mse", "rmse", "mae", "ppl")
_UNBOUNDED_WORDS = ("perplexity", "bits_per_byte", "_nll", "_loss", "likelihood")
# The negative log-likelihood of reference answers, in nats per byte (`Judge.score_targets`).
TARGET_NLL = "target_nll"


# Said of measures of one's own (``module:function``) whose bounds are declared; the others have none.
BOUNDED = " (0 to 1)"


def may_be_bounded(metric: str) -> bool:
    """Whether nothing in a metric's name says that its values need not lie between 0 and 1."""
    if ":" in metric:
        return metric.endswith(BOUNDED)
    name = metric.partition(",")[0].lower()
    return name not in _UNBOUNDED and not any(word in name for word in _UNBOUNDED_WORDS)


@dataclass(frozen=True)
class Scale:
    """How a metric's values, as lm-eval gives them, become scores that are better when higher, and back.

    Where lower is better a score is `top` minus the value, so that an error rate becomes the share without
    an error. Everything that compares candidates works on scores; people are shown values.

    Attributes:
        top: the highest score, of the best value, which is 0; None where the values are the scores.
    """

    top: float | None = None

    @classmethod
    def of(cls, metric: str, higher_is_better: bool) -> Scale:
        """A metric's, by its name and direction."""
        return cls() if higher_is_better else cls(1.0 if may_be_bounded(metric) else 0.0)

    @property
    def is_turned(self) -> bool:
        """Whether lower values are better."""
        return self.top is not None

    def turn(self, number: float) -> float:
        """The score of a value, or the value of a score: it is its own inverse."""
        return number if self.top is None else self.top - number


HIGHER = Scale()
