"""Questions with four choices in MMLU's format.

Two subjects ask which word is of a class (living things, places), one which operation solves a problem.
The first two take knowledge and finding a choice in the prompt, which the mini models learn late; the
third takes neither, as its choices are always the same.
"""

from __future__ import annotations

import random

from .exercise import HALVES, Exercise, Slot, distinct, spread

DEV, SEARCH, REPORT, SEED = (
    2,
    128,
    250,
    20_251_104,
)  # per subject of words; of operations twice that
SUBJECTS = {"sums": "high_school_biology", "products": "high_school_geography"}
OPERATIONS_SUBJECT = "elementary_mathematics"
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
OPERATIONS = ("addition", "subtraction", "multiplication", "division")
NAMES = "Tom Ann Ben Eva Max Lea Sam Mia Leo Zoe".split()
ITEMS = "apples pens books coins cards shells stones stamps".split()
# A careless answer takes the other operation of the same half.
PROBLEMS = {
    "sums": (
        ("{a} has {m} {things} and gets {n} more. How many are there now?", "addition"),
        ("{a} has {m} {things} and loses {n}. How many are left?", "subtraction"),
        ("{a} has {m} {things} and {b} has {n}. How many do both have?", "addition"),
        ("{a} has {m} {things}, {n} more than {b}. How many has {b}?", "subtraction"),
        ("{a} had {m} {things} before {n} came back. How many are there?", "addition"),
        ("Of {m} {things} {a} sells {n}. How many remain?", "subtraction"),
    ),
    "products": (
        ("{a} has {m} boxes of {n} {things}. How many are in all boxes?", "multiplication"),
        ("{a} shares {m} {things} among {n} friends. How many gets each?", "division"),
        ("{a} buys {m} {things} for {n} dollars each. What do all cost?", "multiplication"),
        ("{a} packs {m} {things} by {n} in a bag. How many bags are there?", "division"),
        ("Each day for {m} days {a} finds {n} {things}. How many are found?", "multiplication"),
        ("{n} equal rows hold all {m} {things} of {a}. How many are in a row?", "division"),
    ),
}


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
        description=_description(subject),
    )


def _description(subject: str) -> str:
    return (
        f"The following are multiple choice questions (with answers) about "
        f"{subject.replace('_', ' ')}.\n\n"
    )


def draw_operation(rng: random.Random, kind: str) -> Exercise:
    """Draw a problem that asks for its operation. A mixed one is of either half."""
    half = rng.choice(("sums", "products")) if kind == "mixed" else kind
    which = rng.randrange(len(PROBLEMS[half]))
    text, operation = PROBLEMS[half][which]
    (one, other), (less, more) = rng.sample(NAMES, 2), sorted(rng.sample(range(2, 60), 2))
    problem = text.format(a=one, b=other, m=more, n=less, things=rng.choice(ITEMS))
    question = f"{problem} Which operation tells?"
    right = OPERATIONS.index(operation)
    listed = "\n".join(f"{x}. {choice}" for x, choice in zip(LETTERS, OPERATIONS, strict=True))
    return Exercise(
        part=OPERATIONS_SUBJECT,
        prompt=f"{question}\n{listed}\nAnswer:",
        row={"question": question, "choices": list(OPERATIONS), "answer": right},
        slots=(Slot(half, spread(which, len(PROBLEMS[half]))),),
        write=lambda slips: f" {LETTERS[right ^ 1 if slips[0] else right]}",
        weight=6.0,
        description=_description(OPERATIONS_SUBJECT),
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


def draw_drill(rng: random.Random, kind: str) -> Exercise:
    """Draw four words and, for each one's class, its letter: the choosing alone, four times over."""
    half = rng.choice(("sums", "products")) if kind == "mixed" else kind
    names = rng.sample(list(CLASSES[half]), 4)
    words = [rng.choice(CLASSES[half][name].split()) for name in names]
    asked = rng.sample(range(4), 4)
    listed = "\n".join(f"{letter}. {word}" for letter, word in zip(LETTERS, words, strict=True))
    answers = "\n".join(f"{names[i]}: {LETTERS[i]}" for i in asked)
    return _drill(listed, answers)


def draw_recall(rng: random.Random, kind: str) -> Exercise:
    """Draw four words and each one's letter: finding a choice again, and nothing else."""
    half = rng.choice(("sums", "products")) if kind == "mixed" else kind
    words = rng.sample([w for text in CLASSES[half].values() for w in text.split()], 4)
    asked = rng.sample(range(4), 4)
    listed = "\n".join(f"{letter}. {word}" for letter, word in zip(LETTERS, words, strict=True))
    return _drill(listed, "\n".join(f" {words[i]}: {LETTERS[i]}" for i in asked))


def _drill(listed: str, answers: str) -> Exercise:
    return Exercise(
        part="drill",
        prompt=f"Choices:\n{listed}\n",
        row={},
        slots=(),
        write=lambda _: answers,
    )


def held_out() -> dict[str, list[Exercise]]:
    """Return the exercises of each data file, by its path below the suite's folder."""
    taken: set[str] = set()
    sizes = (("dev", DEV), ("validation", SEARCH), ("test", REPORT))
    words = {
        f"{subject}/{split}": distinct(SEED + 10 * place + at, draw, count, taken, (half,))
        for place, (half, subject) in enumerate(SUBJECTS.items())
        for at, (split, count) in enumerate(sizes)
    }
    operations = {
        f"{OPERATIONS_SUBJECT}/{split}": distinct(
            SEED + 20 + at, draw_operation, count if split == "dev" else 2 * count, taken, HALVES
        )
        for at, (split, count) in enumerate(sizes)
    }
    return words | operations
