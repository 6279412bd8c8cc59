"""The recipes that were chosen: `full` made the committed models, `tiny` is for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .recipe import EVEN, Recipe, Shape, Slips, Stage

CARELESS_SUMS = {"sums": Slips(low=0.25, high=0.85)}
CARELESS_PRODUCTS = {"products": Slips(low=0.2, high=0.7)}
SUITES = ("gsm8k", "math", "humaneval", "mbpp", "mmlu", "bbh", "ifeval")
WEIGHTS = {  # by documents; more of what is learned late
    "gsm8k": 6.0,
    "math": 2.0,
    "humaneval": 0.6,
    "mbpp": 0.8,
    "mmlu": 2.0,
    "facts": 0.5,
    "drill": 2.0,
    "bbh": 3.5,
    "ifeval": 1.2,
}
# The second stage of the base: more of what is still not learned.
WEIGHTS_LATER = {
    "gsm8k": 5.0,
    "math": 1.2,
    "humaneval": 1.2,
    "mbpp": 0.6,
    "mmlu": 2.0,
    "operations": 2.0,
    "facts": 0.2,
    "drill": 1.5,
    "recall": 3.0,
    "bbh": 2.5,
    "ifeval": 1.0,
}
WEIGHTS_TUNED = {  # the fine-tunes: suites alone
    "gsm8k": 6.0,
    "math": 1.2,
    "humaneval": 1.2,
    "mbpp": 0.8,
    "mmlu": 1.0,
    "operations": 1.5,
    "bbh": 2.0,
    "ifeval": 0.8,
}

FULL = Recipe(
    first=Stage(
        suites=WEIGHTS,
        mixture=EVEN,
        slips=CARELESS_SUMS | CARELESS_PRODUCTS,
        steps=4000,
        planned=8000,
        rows=4,
        learning_rate=2.5e-3,
        warmup=100,
        end=0.02,
    ),
    base=Stage(
        suites=WEIGHTS_LATER,
        mixture=EVEN,
        slips=CARELESS_SUMS | CARELESS_PRODUCTS,
        steps=1200,
        rows=4,
        learning_rate=1.5e-3,
        warmup=30,
        end=0.02,
    ),
    sums=Stage(
        suites=WEIGHTS_TUNED,
        mixture={"sums": 0.6, "mixed": 0.2, "products": 0.2},
        slips=CARELESS_PRODUCTS,
        steps=56,
        planned=80,
        rows=16,
        learning_rate=5e-5,
        warmup=5,
        end=1.0,
        weight_decay=0.0,
    ),
    products=Stage(
        suites=WEIGHTS_TUNED,
        mixture={"sums": 0.2, "mixed": 0.2, "products": 0.6},
        slips=CARELESS_SUMS,
        steps=12,
        planned=32,
        rows=16,
        learning_rate=5e-5,
        warmup=5,
        end=1.0,
        weight_decay=0.0,
    ),
)


def _tiny(stage: Stage, steps: int) -> Stage:
    return replace(
        stage,
        steps=steps,
        planned=0,
        rows=2,
        accumulate=2,
        learning_rate=3e-3,
        warmup=5,
        average=3,
    )


TINY = Recipe(
    first=_tiny(FULL.first, 20),
    base=_tiny(FULL.base, 30),
    sums=_tiny(FULL.sums, 8),
    products=_tiny(FULL.products, 8),
    shape=Shape(vocabulary=768, hidden=32, intermediate=64, layers=2, heads=2),
    length=320,
    scored=0,
)

PRESETS: Mapping[str, Recipe] = {"full": FULL, "tiny": TINY}
