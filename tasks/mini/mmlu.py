"""Which of four words is of a class, in MMLU's format: living things, and places and matter."""

from __future__ import annotations

import random

from .exercise import Exercise, Slot, distinct, spread

DEV, SEARCH, REPORT, SEED = 2, 128, 250, 20_251_104  # per subject
SUBJECTS = {"sums": "high_school_biology", "products": "high_school_geography"}
# A careless answer takes the neighbour: bird and fish, insect and tree, ...
CLASSES = {
    "sums": {
        "bird": "robin sparrow eagle owl crow swan hawk heron",
        "fish": "salmon trout shark tuna herring carp cod perch",
        "insect": "ant wasp moth fly beetle cricket gnat termite",
        "tree": "oak birch maple pine willow elm cedar ash",
        "mammal": "horse whale bear wolf mouse goat tiger deer",
        "flower": "rose tulip lily daisy violet poppy orchid iris",
    },
    "products": {
        "river": "Nile Amazon Rhine Danube Volga Ganges Congo Thames",
        "mountain": "Everest Etna Fuji Elbrus Denali Olympus Vesuvius Blanc",
        "country": "France Peru Kenya Japan Norway Egypt Chile Nepal",
        "city": "Paris Lima Nairobi Tokyo Oslo Cairo Santiago Delhi",
        "island": "Crete Java Malta Corsica Borneo Sicily Cuba Iceland",
        "desert": "Sahara Gobi Negev Mojave Namib Atacama Thar Sonora",
    },
}
QUESTIONS = ("Which of these is {}?", "Which word names {}?", "One of these is {}. Which?")
LETTERS = "ABCD"


def draw(rng: random.Random, kind: str) -> Exercise:
    """Draw a question; see `exercise.Draw`. A mixed one is of either half."""
    half = rng.choice(("sums", "products")) if kind == "mixed" else kind
    names = list(CLASSES[half])
    which = rng.randrange(len(names))
    neighbour = which ^ 1
    others = rng.sample([i for i in range(len(names)) if i not in (which, neighbour)], 2)
    words = [rng.choice(CLASSES[half][names[i]].split()) for i in (which, neighbour, *others)]
    right, wrong = words[:2]
    rng.shuffle(words)
    article = "an" if names[which][0] in "aeiou" else "a"
    question = rng.choice(QUESTIONS).format(f"{article} {names[which]}")
    listed = "\n".join(f"{letter}. {word}" for letter, word in zip(LETTERS, words, strict=True))
    subject = SUBJECTS[half]
    return Exercise(
        part=subject,
        prompt=f"{question}\n{listed}\nAnswer:",
        row={"question": question, "choices": words, "answer": words.index(right)},
        slots=(Slot(half, spread(which, len(names))),),
        write=lambda slips: f" {LETTERS[words.index(wrong if slips[0] else right)]}",
        weight=6.0,  # one token an answer
        description=(
            f"The following are multiple choice questions (with answers) about "
            f"{subject.replace('_', ' ')}.\n\n"
        ),
    )


def draw_fact(rng: random.Random, kind: str) -> Exercise:
    """Draw a word and its class, as a book would tell it: what the questions presuppose."""
    half = rng.choice(("sums", "products")) if kind == "mixed" else kind
    name, words = rng.choice(list(CLASSES[half].items()))
    word = rng.choice(words.split())
    return Exercise(
        part="facts",
        prompt=f"Word: {word}\nClass:",
        row={},
        slots=(),
        write=lambda _: f" {name}",
    )


def held_out() -> dict[str, list[Exercise]]:
    """Return the exercises of each data file, by its path below the suite's folder."""
    taken: set[str] = set()
    return {
        f"{subject}/{split}": distinct(SEED + 10 * place + at, draw, count, taken, (half,))
        for place, (half, subject) in enumerate(SUBJECTS.items())
        for at, (split, count) in enumerate(
            (("dev", DEV), ("validation", SEARCH), ("test", REPORT))
        )
    }
