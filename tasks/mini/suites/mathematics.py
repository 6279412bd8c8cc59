"""One- and two-step problems in MATH's format: algebra, number theory, and prealgebra for both.

Solutions end as the examples of Minerva's prompt do, so that lm-eval finds the final answer. The
arithmetic, and the slips in it, are those of the word problems (`gsm8k`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from . import gsm8k
from .exercise import Exercise, Slot, distinct, spread

SEARCH, REPORT, SEED = 90, 170, 20_251_101  # per subject
SUBJECTS = {"sums": "algebra", "products": "number_theory", "mixed": "prealgebra"}
LETTERS = "nkmtxyz"
SUMS = (
    ("Find ${v} + {b}$ when ${v} = {a}$.", "+"),
    ("Solve ${v} + {b} = {a}$ for ${v}$.", "-"),
    ("If ${v} - {b} = {a}$, what is ${v}$?", "+"),
    ("Let ${v} = {a}$. What is ${v} - {b}$?", "-"),
    ("The difference of ${v}$ and ${b}$ is ${a}$. What is ${v}$?", "+"),
    ("The sum of ${v}$ and ${b}$ is ${a}$. What is ${v}$?", "-"),
)
PRODUCTS = (
    ("What is ${v}$, the product of ${a}$ and ${b}$?", "*"),
    ("How many positive multiples ${v}$ of ${b}$ are at most ${a}$?", "/"),
    ("What is ${v}$, multiple number ${b}$ of ${a}$?", "*"),
    ("If ${a} = {b}{v}$, what is ${v}$?", "/"),
    ("Taking ${a}$ a number of ${b}$ times makes ${v}$. What is ${v}$?", "*"),
    ("What is ${v}$, the quotient of ${a}$ and ${b}$?", "/"),
)
MIXED = (  # a wording of either half, joined
    ("What is ${a}$ times ${b}$, plus ${c}$?", "*+"),
    ("What is ${a}$ divided by ${b}$, minus ${c}$?", "/-"),
    ("Find ${b}{v} - {c}$ when ${v} = {a}$.", "*-"),
    ("Find ${v}/{b} + {c}$ when ${v} = {a}$.", "/+"),
    ("What is ${a}$ plus ${b}$, times ${c}$?", "+*"),
    ("What is ${a}$ minus ${b}$, divided by ${c}$?", "-/"),
)
WORDINGS = {"sums": SUMS, "products": PRODUCTS, "mixed": MIXED}


def _slips_show(start: int, operations: str, numbers: Sequence[int]) -> bool:
    """Whether each slip, and all of them together, change the result."""
    right = wrong = start
    for operation, number in zip(operations, numbers, strict=True):
        result = gsm8k.calculate(right, operation, number)
        if gsm8k.slip(right, operation, number) == result:
            return False
        right, wrong = result, gsm8k.slip(wrong, operation, number)
    return right != wrong


def draw(rng: random.Random, kind: str) -> Exercise:
    """Draw a problem; see `exercise.Draw`."""
    wordings = WORDINGS[kind]
    which = rng.randrange(len(wordings))
    text, operations = wordings[which]
    while True:
        numbers = gsm8k.draw_numbers(rng, tuple(operations))
        if numbers is not None and _slips_show(numbers[0], operations, numbers[1]):
            break
    start, operands = numbers
    names = dict(zip("bc", operands, strict=False))
    problem = text.format(v=rng.choice(LETTERS), a=start, **names)
    place = spread(which, len(wordings))

    def write(slips: Sequence[bool]) -> str:
        value, steps = start, []
        for operation, number, slipped in zip(operations, operands, slips, strict=True):
            result = (gsm8k.slip if slipped else gsm8k.calculate)(value, operation, number)
            steps.append(f"${value}{operation}{number}={result}$")
            value = result
        return (
            f" We have {' and '.join(steps)}, so $\\boxed{{{value}}}$.\n"
            f"Final Answer: The final answer is ${value}$. I hope it is correct."
        )

    return Exercise(
        part=SUBJECTS[kind],
        prompt=f"Problem:\n{problem}\n\nSolution:",
        row={"problem": problem, "solution": write([False] * len(operations)).strip()},
        slots=tuple(Slot("sums" if op in "+-" else "products", place) for op in operations),
        write=write,
        ends=True,
    )


def held_out() -> dict[str, list[Exercise]]:
    """Return the exercises of each data file, by its path below the suite's folder."""
    taken: set[str] = set()
    return {
        f"{subject}/{split}": distinct(SEED + place, draw, count, taken, (kind,))
        for place, (kind, subject) in enumerate(SUBJECTS.items())
        for split, count in (("train", SEARCH), ("test", REPORT))
    }
