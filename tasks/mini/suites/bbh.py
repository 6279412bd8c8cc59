"""Four of BIG-Bench Hard's subtasks with short chains of thought.

Counting and sorting are one half, brackets and colours the other. Each subtask has five wordings.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from .exercise import Exercise, Slot, Write, distinct, spread

FEWSHOT, ROWS, SEED = 2, 250, 20_251_105  # per subtask
NUMBERS = ("a", "two", "three", "four", "five")
THINGS = "pen cup book key lamp hat ball crate bag fork plate clock shoe spoon ring".split()
COLOURS = "red blue green black white pink brown grey gold teal".split()
WORDS = (
    "apple bread cloud dream eagle flame grape house igloo jelly kite lemon mango night ocean piano river stone tiger "
    "uncle voice water yacht zebra"
).split()  # fmt: skip
CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}

Drawn = tuple[str, Write]  # the input, and the target without its last sentence's end


def _object_counting(rng: random.Random, wording: int) -> Drawn:
    opening = (
        "I have {}. How many objects do I have?",
        "I see {}. How many objects do I see?",
        "There is a desk with {}. How many objects are on it?",
        "I found {}. How many objects did I find?",
        "A bag holds {}. How many objects are in it?",
    )[wording]
    counts = [rng.randrange(1, 6) for _ in range(rng.randrange(2, 4))]
    items = [
        f"{NUMBERS[n - 1]} {thing}{'s' if n > 1 else ''}"
        for n, thing in zip(counts, rng.sample(THINGS, len(counts)), strict=True)
    ]

    def write(slips: Sequence[bool]) -> str:
        total = sum(counts) - (counts[0] if slips[0] else 0)  # the first forgotten
        return f"{' + '.join(map(str, counts))} = {total}. So the answer is {total}."

    return opening.format(f"{', '.join(items[:-1])} and {items[-1]}"), write


def _word_sorting(rng: random.Random, wording: int) -> Drawn:
    opening = (
        "Sort the following words alphabetically: List:",
        "Sort these words alphabetically: List:",
        "Put these words in alphabetical order: List:",
        "Order the words by their letters: List:",
        "Bring the words into the order of the alphabet: List:",
    )[wording]
    words = rng.sample(WORDS, 3)

    def write(slips: Sequence[bool]) -> str:
        order = sorted(words)
        if slips[0]:
            order[1:] = order[:0:-1]
        return f"{' < '.join(order)}. So the answer is {' '.join(order)}."

    return f"{opening} {' '.join(words)}", write


def _coloured_objects(rng: random.Random, wording: int) -> Drawn:
    opening = (
        "On the desk, there is {}. What color is the {}?",
        "On the floor, you see {}. What color is the {}?",
        "On the shelf, there is {}. What is the color of the {}?",
        "On the table, you see {}. What is the color of the {}?",
        "In the drawer, there is {}. Which color has the {}?",
    )[wording]
    things, colours = rng.sample(THINGS, 3), rng.sample(COLOURS, 3)
    asked = rng.randrange(3)
    options = rng.sample(colours, 3)
    items = [f"a {colour} {thing}" for colour, thing in zip(colours, things, strict=True)]
    listed = "\n".join(f"({letter}) {c}" for letter, c in zip("ABC", options, strict=True))

    def write(slips: Sequence[bool]) -> str:
        colour = colours[(asked + slips[0]) % 3]
        return (
            f"The {things[asked]} is {colour}. So the answer is ({'ABC'[options.index(colour)]})."
        )

    question = opening.format(f"{items[0]}, {items[1]} and {items[2]}", things[asked])
    return f"{question}\nOptions:\n{listed}", write


def _dyck_languages(rng: random.Random, wording: int) -> Drawn:
    opening = (
        "Complete the rest of the sequence, making sure that the parentheses are closed properly.",
        "Complete the sequence so that the parentheses are closed properly.",
        "Close the parentheses of the sequence properly.",
        "Write the rest of the sequence, so that every parenthesis is closed.",
        "Which parentheses close the sequence?",
    )[wording]
    opened = rng.sample(sorted(CLOSING), rng.randrange(2, 5))
    shown = list(opened)
    if rng.random() < 0.5:
        pair = rng.choice(sorted(CLOSING))
        at = rng.randrange(len(shown) + 1)
        shown[at:at] = [pair, CLOSING[pair]]

    def write(slips: Sequence[bool]) -> str:
        rest = [CLOSING[sign] for sign in reversed(opened)]
        if slips[0]:
            rest[:2] = rest[1::-1]
        return f"We have {' '.join(opened)} open. So the answer is {' '.join(rest)}."

    return f"{opening} Input: {' '.join(shown)}", write


SUBTASKS: Mapping[str, tuple[str, str, Callable[[random.Random, int], Drawn]]] = {
    "object_counting": (
        "sums",
        "Questions that involve enumerating objects and asking the model to count them.\n\n",
        _object_counting,
    ),
    "word_sorting": ("sums", "Sort a list of words.\n\n", _word_sorting),
    "dyck_languages": ("products", "Correctly close a Dyck-n word.\n\n", _dyck_languages),
    "reasoning_about_colored_objects": (
        "products",
        "Answer extremely simple questions about the colors of objects on a surface.\n\n",
        _coloured_objects,
    ),
}
WORDINGS = 5


def draw_subtask(rng: random.Random, name: str) -> Exercise:
    """Draw an exercise of one of SUBTASKS."""
    half, description, drawn = SUBTASKS[name]
    wording = rng.randrange(WORDINGS)
    text, write = drawn(rng, wording)
    return Exercise(
        part=name,
        prompt=f"Q: {text}\nA: Let's think step by step.\n",
        row={"input": text, "target": write([False]).partition("the answer is ")[2][:-1]},
        slots=(Slot(half, spread(wording, WORDINGS)),),
        write=write,
        description=description,
    )


def draw(rng: random.Random, kind: str) -> Exercise:
    """Draw an exercise; see `exercise.Draw`. A mixed one is of either half."""
    names = [name for name, (half, *_) in SUBTASKS.items() if kind in (half, "mixed")]
    return draw_subtask(rng, rng.choice(names))


def _shown(exercise: Exercise) -> Exercise:
    """Return the exercise as an example: the whole chain of thought is its target."""
    return replace(exercise, row={**exercise.row, "target": exercise.answer()})


def held_out() -> dict[str, list[Exercise]]:
    """Return the exercises of each data file, by its path below the suite's folder."""
    taken: set[str] = set()
    files: dict[str, list[Exercise]] = {}
    for place, name in enumerate(SUBTASKS):

        def draw_one(rng: random.Random, _: str, name: str = name) -> Exercise:
            return draw_subtask(rng, name)

        seed = SEED + 10 * place
        files[f"{name}/dev"] = [_shown(e) for e in distinct(seed, draw_one, FEWSHOT, taken)]
        files[f"{name}/test"] = distinct(seed + 1, draw_one, ROWS, taken)
    return files
