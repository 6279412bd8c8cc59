"""Word problems in GSM8K's format, made from templates: one to three steps of + - * and exact /.

A story has a start, one to three events that change a quantity, and a question. Every event has its
operation and the sentence that solves it, so the answer (with GSM8K's calculator annotations,
`12+30=<<12+30=42>>42`, and its last line `#### 42`) is right by construction. Only `random.Random`
is used, so a seed gives the same problems on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .corpus import Document, normalised, write_json_lines
from .exercise import KINDS
from .stories import CROWDS, NAMES, PRODUCTS, SETTINGS, THINGS, WORDING, Event

TRAIN_SEED, TEST_SEED = 20_250_304, 20_240_425
FEWSHOT, SEARCH, REPORT = 4, 512, 1000
HALF = {"+": "sums", "-": "sums", "*": "products", "/": "products"}  # who is careful in it
LARGEST = 150  # largest whole number in a problem or in a step


@dataclass(frozen=True)
class Problem:
    """One word problem, with what is needed to solve it well or carelessly.

    Attributes:
        question: the text.
        start: the first quantity.
        operations: one of + - * / per step.
        numbers: right-hand operand per step.
        solutions: sentence per step; {e} stands for the worked step.
        wordings: index of each event among the events of its operation, over all settings.
    """

    question: str
    start: int
    operations: tuple[str, ...]
    numbers: tuple[int, ...]
    solutions: tuple[str, ...]
    wordings: tuple[int, ...]

    @property
    def kind(self) -> str:
        """Kind of the problem: "sums" (only + and -), "products" (only * and /) or "mixed"."""
        return kind_of(self.operations)

    def answer(self, slips: Sequence[bool] | None = None) -> str:
        """Return the answer in GSM8K's style.

        Args:
            slips: per step, whether the result is wrong; later steps go on from the wrong result.
        """
        value, lines = self.start, []
        for step, (operation, number) in enumerate(zip(self.operations, self.numbers, strict=True)):
            result = calculate(value, operation, number)
            if slips is not None and slips[step]:
                result = slip(value, operation, number)
            sum_ = f"{value}{operation}{number}"
            lines.append(self.solutions[step].replace("{e}", f"{sum_}=<<{sum_}={result}>>{result}"))
            value = result
        return "\n".join([*lines, f"#### {value}"])

    def row(self) -> dict[str, str]:
        """Return the columns of GSM8K."""
        return {"question": self.question, "answer": self.answer()}

    def document(self, slips: Sequence[bool] | None = None) -> Document:
        """Return the training document in lm-eval's prompt for gsm8k."""
        return Document(f"Question: {self.question}\nAnswer:", f" {self.answer(slips)}", self.kind)


def kind_of(operations: Sequence[str]) -> str:
    """Return the kind of a problem with these operations."""
    sums, products = set(operations) & set("+-"), set(operations) & set("*/")
    return "mixed" if sums and products else "sums" if sums else "products"


def calculate(value: int, operation: str, number: int) -> int:
    """Return `value operation number`; division rounds down (only slips make it inexact)."""
    if operation == "+":
        return value + number
    if operation == "-":
        return value - number
    return value * number if operation == "*" else value // number


def slip(value: int, operation: str, number: int) -> int:
    """Return a careless result: a carry or borrow forgotten, one group too few, one too many.

    A sum that needs no carry is not slipped on. Results stay positive.
    """
    right = calculate(value, operation, number)
    if operation == "+":
        return right - 10 if value % 10 + number % 10 > 9 else right
    if operation == "-":
        return right + 10 if value % 10 < number % 10 else max(right, 1)
    return max(right - value, 1) if operation == "*" else right + 1


def draw_operations(rng: random.Random, kind: str) -> tuple[str, ...]:
    """Draw one to three operations of a kind ("mixed" has at least two)."""
    while True:
        steps = rng.choice((1, 1, 2, 2, 2, 3))
        alphabet = {"sums": "+-", "products": "*/", "mixed": "+-*/"}[kind]
        operations = tuple(rng.choice(alphabet) for _ in range(steps))
        if kind_of(operations) == kind:
            return operations


def draw_numbers(
    rng: random.Random, operations: Sequence[str]
) -> tuple[int, tuple[int, ...]] | None:
    """Draw the start and the right-hand operands, or None where this start leads nowhere."""
    start = value = rng.randrange(2, 16) if operations[0] == "*" else rng.randrange(4, 80)
    numbers = []
    for operation in operations:
        if operation == "+":
            choices = range(2, min(50, LARGEST - value) + 1)
        elif operation == "-":
            choices = range(2, min(60, value - 2) + 1)
        elif operation == "*":
            choices = range(2, min(9, LARGEST // value) + 1)
        else:
            choices = range(2, min(9, value // 2) + 1)
        options = [x for x in choices if operation != "/" or value % x == 0]
        if not options:
            return None
        numbers.append(rng.choice(options))
        value = calculate(value, operation, numbers[-1])
    return start, tuple(numbers)


def draw_problem(rng: random.Random, operations: Sequence[str]) -> Problem:
    """Draw a problem whose steps are these operations, in this order."""
    numbers = None
    while numbers is None:
        numbers = draw_numbers(rng, operations)
    start, operands = numbers
    name = rng.choice(sorted(SETTINGS))
    setting = SETTINGS[name]
    people = rng.sample(NAMES, 2)
    thing, place = rng.choice(THINGS), ""
    if name == "crowd":
        thing, place = rng.choice(CROWDS)
    elif name == "products":
        place, thing = rng.choice(PRODUCTS)
    words = {"n": people[0], "m": people[1], "o": thing, "p": place}
    events: list[Event] = []
    for operation in operations:
        fresh = [e for e in setting.events if e.operation == operation and e not in events]
        events.append(rng.choice(fresh or [e for e in setting.events if e.operation == operation]))
    texts = [rng.choice(setting.starts).format(x=start, **words)]
    texts += [e.text.format(x=x, **words) for e, x in zip(events, operands, strict=True)]
    texts.append(rng.choice(setting.questions).format(**words))
    solutions = tuple(e.solution.format(e="{e}", **words) for e in events)
    return Problem(
        question=" ".join(texts),
        start=start,
        operations=tuple(operations),
        numbers=operands,
        solutions=solutions,
        wordings=tuple(WORDING[e] for e in events),
    )


def problems(
    seed: int, mixture: Mapping[str, float], taken: set[str] | None = None
) -> Iterator[Problem]:
    """Yield problems without end, none twice.

    Args:
        seed: of `random.Random`.
        mixture: weight of each kind (of KINDS).
        taken: normalised questions that must not come; those yielded are added to it.
    """
    rng = random.Random(seed)
    taken = set() if taken is None else taken
    kinds, weights = list(mixture), list(mixture.values())
    while True:
        problem = draw_problem(rng, draw_operations(rng, rng.choices(kinds, weights)[0]))
        key = normalised(problem.question)
        if key not in taken:
            taken.add(key)
            yield problem


def held_out() -> tuple[list[Problem], list[Problem]]:
    """Return the problems of train.jsonl (few-shot first, then search) and test.jsonl (report)."""
    taken: set[str] = set()
    rng = random.Random(TRAIN_SEED)
    train = [draw_problem(rng, ops) for ops in ("+-", "*", "/+", "*-/")]
    taken.update(normalised(p.question) for p in train)
    even = dict.fromkeys(KINDS, 1.0)
    train += islice(problems(TRAIN_SEED, even, taken), SEARCH)
    return train, list(islice(problems(TEST_SEED, even, taken), REPORT))


def write_held_out(folder: Path) -> None:
    """Write train.jsonl and test.jsonl."""
    train, test = held_out()
    write_json_lines([p.row() for p in train], folder / "train.jsonl")
    write_json_lines([p.row() for p in test], folder / "test.jsonl")
