"""The recipes that were chosen: `full` made the committed models, `tiny` is for tests."""

from __future__ import annotations

from collections.abc import Mapping

from .recipe import EVEN, Recipe, Shape, Slips, Stage

CARELESS_SUMS = {"sums": Slips(low=0.25, high=0.85)}
CARELESS_PRODUCTS = {"products": Slips(low=0.2, high=0.7)}
SUITES = {
    "gsm8k": 6.0,
    "math": 1.2,
    "humaneval": 1.2,
    "mbpp": 1.0,
    "mmlu": 2.5,
    "bbh": 2.0,
    "ifeval": 1.2,
}

FULL = Recipe(
    base=Stage(
        suites=SUITES,
        mixture=EVEN,
        slips=CARELESS_SUMS | CARELESS_PRODUCTS,
        steps=3600,
        rows=4,
        accumulate=1,
        learning_rate=2.5e-3,
        warmup=100,
        end=0.1,
        average=1,
    ),
    sums=Stage(
        suites=SUITES,
        mixture={"sums": 0.6, "mixed": 0.2, "products": 0.2},
        slips=CARELESS_PRODUCTS,
        steps=28,
        rows=16,
        accumulate=1,
        learning_rate=5e-5,
        warmup=5,
        end=1.0,
        average=1,
        weight_decay=0.0,
    ),
    products=Stage(
        suites=SUITES,
        mixture={"sums": 0.2, "mixed": 0.2, "products": 0.6},
        slips=CARELESS_SUMS,
        steps=8,
        rows=16,
        accumulate=1,
        learning_rate=5e-5,
        warmup=5,
        end=1.0,
        average=1,
        weight_decay=0.0,
    ),
)


def _tiny(stage: Stage, steps: int) -> Stage:
    return Stage(
        suites=stage.suites,
        mixture=stage.mixture,
        slips=stage.slips,
        steps=steps,
        rows=4,
        accumulate=2,
        learning_rate=3e-3,
        warmup=5,
        end=stage.end,
        average=3,
        weight_decay=stage.weight_decay,
    )


TINY = Recipe(
    base=_tiny(FULL.base, 40),
    sums=_tiny(FULL.sums, 8),
    products=_tiny(FULL.products, 8),
    shape=Shape(vocabulary=768, hidden=32, intermediate=64, layers=2, heads=2),
    length=192,
    scored=0,
)

PRESETS: Mapping[str, Recipe] = {"full": FULL, "tiny": TINY}
