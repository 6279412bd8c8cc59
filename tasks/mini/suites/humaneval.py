"""Python functions of one or two operations in HumanEval's format, with tests that run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from .exercise import Exercise, Slot, distinct, spread

ROWS, SEED = 1000, 20_251_102
NAMES = (
    "change apply shift solve compute step update adjust convert move turn score value next rate level count size"
).split()  # fmt: skip
ARGUMENTS = ("x", "n", "a", "number", "value", "points", "price")
WRONG = {"+": "-", "-": "+", "*": "+", "//": "%", "%": "//"}
SUMS = (
    ("Return {x} plus {k}.", "+"),
    ("Return {x} minus {k}.", "-"),
    ("Add {k} to {x}.", "+"),
    ("Subtract {k} from {x}.", "-"),
    ("Make {x} larger by {k}.", "+"),
    ("Make {x} smaller by {k}.", "-"),
)
PRODUCTS = (
    ("Return {x} times {k}.", "*"),
    ("Return the quotient of {x} and {k}.", "//"),
    ("Multiply {x} by {k}.", "*"),
    ("Divide {x} by {k} and round down.", "//"),
    ("Return the remainder of {x} and {k}.", "%"),
    ("Take {x} by the factor {k}.", "*"),
)
WORDINGS = {"sums": SUMS, "products": PRODUCTS}


def _calculate(value: int, operations: Sequence[str], numbers: Sequence[int]) -> int:
    for operation, number in zip(operations, numbers, strict=True):
        if operation in "+-":
            value += number if operation == "+" else -number
        elif operation == "*":
            value *= number
        else:
            value = value // number if operation == "//" else value % number
    return value


def draw(rng: random.Random, kind: str) -> Exercise:
    """Draw a function; see `exercise.Draw`."""
    halves = rng.sample(("sums", "products"), 2) if kind == "mixed" else [kind]
    name, argument = rng.choice(NAMES), rng.choice(ARGUMENTS)
    sentences: list[str] = []
    operations: list[str] = []
    numbers: list[int] = []
    slots: list[Slot] = []
    for half in halves:
        which = rng.randrange(len(WORDINGS[half]))
        text, operation = WORDINGS[half][which]
        numbers.append(rng.randrange(2, 30) if half == "sums" else rng.randrange(3, 10))
        text = text.format(x="the result" if sentences else argument, k=numbers[-1])
        sentences.append(f"Then {text[0].lower()}{text[1:]}" if sentences else text)
        operations.append(operation)
        slots.append(Slot(half, spread(which, len(WORDINGS[half]))))
    prompt = f'def {name}({argument}: int) -> int:\n    """{" ".join(sentences)}"""\n'

    def write(slips: Sequence[bool]) -> str:
        expression = argument
        for operation, number, slipped in zip(operations, numbers, slips, strict=True):
            if expression != argument:
                expression = f"({expression})"
            expression = f"{expression} {WRONG[operation] if slipped else operation} {number}"
        return f"    return {expression}\n"

    values = [rng.randrange(100, 200), rng.randrange(200, 300)]
    results = [_calculate(value, operations, numbers) for value in values]
    for slips in product((False, True), repeat=len(slots)):
        slipped = [WRONG[o] if s else o for o, s in zip(operations, slips, strict=True)]
        if any(slips) and results == [_calculate(v, slipped, numbers) for v in values]:
            return draw(rng, kind)  # these tests would not notice
    lines = [f"    assert candidate({v}) == {r}\n" for v, r in zip(values, results, strict=True)]
    right = write([False] * len(slots))
    return Exercise(
        part="+".join(halves),
        prompt=prompt,
        row={
            "prompt": prompt,
            "canonical_solution": right,
            "test": "def check(candidate):\n" + "".join(lines),
            "entry_point": name,
        },
        slots=tuple(slots),
        write=write,
        ends=True,
    )


def held_out() -> dict[str, list[Exercise]]:
    """Return the exercises of each data file, by its path below the suite's folder."""
    found = distinct(SEED, draw, ROWS, set())
    return {
        "test": [
            replace(exercise, row={"task_id": f"mini/{place}", **exercise.row})
            for place, exercise in enumerate(found)
        ]
    }
