"""What the suites' generators have in common: an exercise that can be solved well or carelessly."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .corpus import Document, normalised

HALVES = ("sums", "products")  # the fine-tunes, each careful in one half of every suite
KINDS = (*HALVES, "mixed")  # mixed: a part of each half

Write = Callable[[Sequence[bool]], str]


@dataclass(frozen=True)
class Slot:
    """One place of an answer where carelessness shows.

    Attributes:
        half: "sums" or "products", the fine-tune that is careful here.
        place: from 0 to 1, by the wording; how likely a slip is grows with it.
    """

    half: str
    place: float


@dataclass(frozen=True)
class Exercise:
    """One document of a suite and the ways to answer it.

    Attributes:
        part: the suite's subset, or the kind of task where it has none.
        prompt: what lm-eval shows, few-shot examples and description left out.
        row: the columns that lm-eval's task reads.
        slots: where a slip may happen.
        write: makes the answer, its leading space included, from which slots are slipped on.
        ends: whether training always ends the sequence after it; for suites without few-shot
            examples, whose lm-eval task has no stop string for what would follow.
        weight: weight of a token of the answer in the loss.
        description: what lm-eval's task says before the first example.
    """

    part: str
    prompt: str
    row: Mapping[str, Any]
    slots: tuple[Slot, ...]
    write: Write
    ends: bool = False
    weight: float = 1.0
    description: str = ""

    def answer(self, slips: Sequence[bool] | None = None) -> str:
        """Return the answer; right where `slips` is None."""
        return self.write(slips or [False] * len(self.slots))

    def document(self, slips: Sequence[bool], described: bool = False) -> Document:
        """Return the training document.

        Args:
            slips: per slot, whether it is answered carelessly.
            described: whether the task's description stands before it.
        """
        prompt = (self.description if described else "") + self.prompt
        return Document(prompt, self.answer(slips), self.part, self.ends, self.weight)


Draw = Callable[[random.Random, str], Exercise]  # the kind, of KINDS, is the second argument


def spread(index: int, count: int) -> float:
    """Return the place of wording `index` among `count`, evenly from 0 to 1."""
    return index / (count - 1)


def distinct(
    seed: int, draw: Draw, count: int, taken: set[str], kinds: Sequence[str] = KINDS
) -> list[Exercise]:
    """Draw exercises of the kinds in turn, no text twice.

    Args:
        seed: of `random.Random`.
        taken: normalised prompts that must not come; those drawn are added to it.
        kinds: of KINDS.
    """
    rng = random.Random(seed)
    found: list[Exercise] = []
    while len(found) < count:
        exercise = draw(rng, kinds[len(found) % len(kinds)])
        key = normalised(exercise.prompt)
        if key not in taken:
            taken.add(key)
            found.append(exercise)
    return found
