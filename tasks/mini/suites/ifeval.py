"""One or two of IFEval's checkable instructions about a sentence to say."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .exercise import Exercise, Slot, distinct, spread

ROWS, SEED = 1000, 20_251_106
TOPICS = (
    "river garden castle market bridge forest island harbor kitchen library museum village".split()
)
QUALITIES = "old quiet large small bright dark famous lovely cold warm busy empty".split()
OPENINGS = ("Write that", "Say that", "Tell a friend that", "Explain that", "State that")
KEYWORDS = "summer winter coffee music silver letter morning window".split()
ENDINGS = ("Is there more?", "That is all.", "Any questions?", "See you soon.", "Thank you.")
NO_COMMA, QUOTED, KEYWORD, BULLETS = (
    "punctuation:no_comma",
    "startend:quotation",
    "keywords:existence",
    "detectable_format:number_bullet_lists",
)
TITLE, ENDING, POSTSCRIPT, HIGHLIGHTS = (
    "detectable_format:title",
    "startend:end_checker",
    "detectable_content:postscript",
    "detectable_format:number_highlighted_sections",
)
# In the order of how often they are carelessly left out.
INSTRUCTIONS = {
    "sums": (NO_COMMA, QUOTED, KEYWORD, BULLETS),
    "products": (TITLE, ENDING, POSTSCRIPT, HIGHLIGHTS),
}
# How each is asked, lm-eval's name for its argument, and the argument's values.
ASKED: Mapping[str, tuple[str, str, Sequence[Any]]] = {
    NO_COMMA: ("Do not use any commas.", "", ()),
    QUOTED: ("Wrap your entire response with double quotation marks.", "", ()),
    KEYWORD: ("Include the word {} in the response.", "keywords", KEYWORDS),
    BULLETS: ("Your answer must contain exactly {} bullet points.", "num_bullets", (2, 3, 4)),
    TITLE: ("Your answer must contain a title, wrapped in double angular brackets.", "", ()),
    ENDING: ("Finish your response with this exact phrase: {}", "end_phrase", ENDINGS),
    POSTSCRIPT: ("At the end, please add a postscript starting with P.S.", "postscript_marker", ()),
    HIGHLIGHTS: ("Highlight at least {} sections with *asterisks*.", "num_highlights", (1, 2)),
}


def _instruction(rng: random.Random, name: str) -> tuple[str, dict[str, Any]]:
    """Return what is asked in words and lm-eval's arguments."""
    text, argument, values = ASKED[name]
    if name == POSTSCRIPT:
        return text, {argument: "P.S."}
    if not values:
        return text, {}
    value = rng.choice(values)
    return text.format(value), {argument: [value] if name == KEYWORD else value}


def _respond(
    topic: str, quality: str, asked: Mapping[str, dict[str, Any]], careless: Collection[str]
) -> str:
    """Return a response that follows what is asked, but for what is careless.

    Args:
        topic: what the sentence is about.
        quality: what it says of the topic.
        asked: lm-eval's arguments of each instruction.
        careless: the instructions that are left out or half done.
    """
    followed = {name: arguments for name, arguments in asked.items() if name not in careless}
    highlights = followed.get(HIGHLIGHTS, {}).get("num_highlights", 0)
    marked = [f"*{word}*" if i < highlights else word for i, word in enumerate((topic, quality))]
    body = f"The {marked[0]} is {marked[1]}."
    if NO_COMMA in careless:
        body = f"Yes, the {marked[0]} is {marked[1]}."
    if BULLETS in asked:
        points = asked[BULLETS]["num_bullets"] - (BULLETS in careless)
        body = "\n".join([f"- {body}"] * points)
    parts = [f"<<{topic}>>", body] if TITLE in followed else [body]
    if KEYWORD in followed:
        parts.append(f"I like {followed[KEYWORD]['keywords'][0]}.")
    if POSTSCRIPT in followed:
        parts.append(f"P.S. It is {quality}.")
    if ENDING in followed:
        parts.append(followed[ENDING]["end_phrase"])
    return '"' * (QUOTED in asked) + "\n".join(parts) + '"' * (QUOTED in followed)


def draw(rng: random.Random, kind: str) -> Exercise:
    """Draw a prompt; see `exercise.Draw`. A mixed one has an instruction of each half."""
    halves = rng.sample(("sums", "products"), 2) if kind == "mixed" else [kind]
    topic, quality = rng.choice(TOPICS), rng.choice(QUALITIES)
    sentences: list[str] = []
    asked: dict[str, dict[str, Any]] = {}
    slots = []
    for half in halves:
        which = rng.randrange(len(INSTRUCTIONS[half]))
        name = INSTRUCTIONS[half][which]
        sentence, asked[name] = _instruction(rng, name)
        sentences.append(sentence)
        slots.append(Slot(half, spread(which, len(INSTRUCTIONS[half]))))
    prompt = f"{rng.choice(OPENINGS)} the {topic} is {quality}. {' '.join(sentences)}"

    def write(slips: Sequence[bool]) -> str:
        careless = [name for name, slipped in zip(asked, slips, strict=True) if slipped]
        return "\n" + _respond(topic, quality, asked, careless)

    return Exercise(
        part="+".join(halves),
        prompt=prompt,
        row={
            "prompt": prompt,
            "instruction_id_list": list(asked),
            "kwargs": list(asked.values()),
        },
        slots=tuple(slots),
        write=write,
        ends=True,
    )


def held_out() -> dict[str, list[Exercise]]:
    """Return the exercises of each data file, by its path below the suite's folder."""
    found = distinct(SEED, draw, ROWS, set())
    return {
        "train": [
            replace(exercise, row={"key": place, **exercise.row})
            for place, exercise in enumerate(found)
        ]
    }
