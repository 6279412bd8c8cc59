"""Functions of lists in MBPP's format, with asserts that run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from .exercise import Exercise, Slot, distinct, spread

FEWSHOT, SEARCH, REPORT, SEED = 2, 256, 500, 20_251_103
NAMES = "cut pick change make edit trim work build adapt modify prepare process".split()
Function = Callable[[list[int], int], list[int]]
# What to write, the expression, the careless expression, and the right one to run.
SUMS: tuple[tuple[str, str, str, Function], ...] = (
    ("get the first {k} items of a list", "xs[:{k}]", "xs[{k}:]", lambda xs, k: xs[:k]),
    ("put {k} at the end of a list", "xs + [{k}]", "[{k}] + xs", lambda xs, k: [*xs, k]),
    ("drop the first {k} items of a list", "xs[{k}:]", "xs[:{k}]", lambda xs, k: xs[k:]),
    ("put {k} at the front of a list", "[{k}] + xs", "xs + [{k}]", lambda xs, k: [k, *xs]),
    ("drop the last {k} items of a list", "xs[:-{k}]", "xs[-{k}:]", lambda xs, k: xs[:-k]),
    ("get the last {k} items of a list", "xs[-{k}:]", "xs[:-{k}]", lambda xs, k: xs[-k:]),
)
PRODUCTS: tuple[tuple[str, str, str, Function], ...] = (
    ("repeat a list {k} times", "xs * {k}", "xs[::{k}]", lambda xs, k: xs * k),
    (
        "multiply every item of a list by {k}",
        "[x * {k} for x in xs]",
        "[x + {k} for x in xs]",
        lambda xs, k: [x * k for x in xs],
    ),
    ("take one of every {k} items of a list", "xs[::{k}]", "xs * {k}", lambda xs, k: xs[::k]),
    (
        "divide every item of a list by {k}",
        "[x // {k} for x in xs]",
        "[x % {k} for x in xs]",
        lambda xs, k: [x // k for x in xs],
    ),
    (
        "get the remainder of every item of a list by {k}",
        "[x % {k} for x in xs]",
        "[x // {k} for x in xs]",
        lambda xs, k: [x % k for x in xs],
    ),
    (
        "scale every item of a list by {k}",
        "[x * {k} for x in xs]",
        "[x + {k} for x in xs]",
        lambda xs, k: [x * k for x in xs],
    ),
)
WORDINGS = {"sums": SUMS, "products": PRODUCTS}


def draw(rng: random.Random, kind: str) -> Exercise:
    """Draw a function; see `exercise.Draw`. A mixed one is of either half."""
    half = rng.choice(("sums", "products")) if kind == "mixed" else kind
    which = rng.randrange(len(WORDINGS[half]))
    text, right, wrong, function = WORDINGS[half][which]
    name, number = rng.choice(NAMES), rng.randrange(1, 3) if half == "sums" else rng.choice((2, 3))
    # The lengths and the first items make sure that a careless expression fails.
    tests = []
    for length in (3, 3, 5):
        items = [rng.randrange(10) for _ in range(length - 1)]
        items.insert(0, rng.choice((5, 7, 9)))
        tests.append(f"assert {name}({items}) == {function(items, number)}")
    task = f"Write a function to {text.format(k=number)}."

    def code(slips: Sequence[bool]) -> str:
        return f"def {name}(xs):\n    return {(wrong if slips[0] else right).format(k=number)}"

    return Exercise(
        part=half,
        prompt=(
            f"You are an expert Python programmer, and here is your task: {task} Your code should "
            f"pass these tests:\n\n" + "\n".join(tests) + "\n[BEGIN]\n"
        ),
        row={"text": task, "code": code([False]), "test_list": tests},
        slots=(Slot(half, spread(which, len(WORDINGS[half]))),),
        write=lambda slips: code(slips) + "\n[DONE]",
    )


def _shown(exercise: Exercise) -> Exercise:
    """Return the exercise with the column by which lm-eval's template knows a few-shot example."""
    return replace(exercise, row={**exercise.row, "is_fewshot": True})


def held_out() -> dict[str, list[Exercise]]:
    """Return the exercises of each data file, by its path below the suite's folder."""
    taken: set[str] = set()
    halves = ("sums", "products")
    return {
        "prompt": [_shown(e) for e in distinct(SEED, draw, FEWSHOT, taken, halves)],
        "validation": distinct(SEED + 1, draw, SEARCH, taken, halves),
        "test": distinct(SEED + 2, draw, REPORT, taken, halves),
    }
