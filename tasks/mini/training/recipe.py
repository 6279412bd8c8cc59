"""The recipes: every number that training the mini models depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exme.tasks.mini.suites import KINDS

EVEN: Mapping[str, float] = dict.fromkeys(KINDS, 1.0)


@dataclass(frozen=True)
class Shape:
    """Size of the Llama; the head and the embedding share their weights."""

    vocabulary: int = 1536  # at most; fewer where the corpus has no more pairs to merge
    hidden: int = 128
    intermediate: int = 384
    layers: int = 4
    heads: int = 4
    positions: int = 1024


@dataclass(frozen=True)
class Slips:
    """How careless the answers of a corpus are: chance of a slip per slot (a step, in GSM8K).

    The chance depends on the wording: from `low` for the first wording of its kind to `high` for
    the last, evenly.
    """

    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Stage:
    """One training run.

    Attributes:
        suites: weight of each suite, by documents.
        mixture: weight of each kind of problem, in every suite.
        slips: carelessness by half ("sums", "products"); one left out is worked without slips.
        steps: optimiser steps.
        rows: rows of a batch that is held at once.
        accumulate: batches per step.
        learning_rate: peak, of AdamW.
        warmup: steps of linear growth to the peak.
        end: learning rate of the last step as a share of the peak (linear decay).
        average: number of last steps whose weights are averaged into the result; 1 for none.
        weight_decay: of AdamW.
        planned: steps that the corpus and the fall of the learning rate are made for; 0 for `steps`.
    """

    suites: Mapping[str, float]
    mixture: Mapping[str, float]
    slips: Mapping[str, Slips]
    steps: int
    rows: int
    learning_rate: float
    warmup: int
    end: float
    accumulate: int = 1
    average: int = 1
    weight_decay: float = 0.1
    planned: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of step `step`, counted from 0."""
        decay = 1.0 - (1.0 - self.end) * step / max((self.planned or self.steps) - 1, 1)
        return self.learning_rate * min(1.0, (step + 1) / max(self.warmup, 1)) * decay


@dataclass(frozen=True)
class Recipe:
    """What makes the three models: the base from scratch in two stages, two fine-tunes from it."""

    first: Stage
    base: Stage
    sums: Stage
    products: Stage
    seed: int = 0
    shape: Shape = field(default_factory=Shape)
    length: int = 512  # tokens per row
    prompt_weight: float = 0.1
    bfloat16: bool = (
        True  # products in bfloat16 in training; weights, sums and optimiser in float32
    )
    end_share: float = 0.1
    scored: int = 128  # search documents scored for the record
