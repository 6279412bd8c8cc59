"""Two skills to fine-tune, as chats: following an instruction, and choosing an answer.

The exercises are those of the mini suites, drawn with other seeds; none is a document that a search or a proof is
scored on. A chat is what lm-eval puts to the model (`chat: {apply_chat_template: true}`), and the right answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from exme.tasks.mini.suites import KINDS, Draw, Exercise, ifeval, mmlu, normalised

Chat = list[dict[str, str]]


def _instruction(exercise: Exercise) -> Chat:
    answer = exercise.answer().strip()
    return [_said("user", exercise.prompt), _said("assistant", answer)]


def _choice(exercise: Exercise) -> Chat:
    """As lm-eval's mmlu_*_continuation asks: the choices are not listed, each is an answer."""
    subject = exercise.part.replace("_", " ")
    row = exercise.row
    return [
        _said("system", f"The following are questions (with answers) about {subject}.\n\n"),
        _said("user", f"Question: {row['question']}\nAnswer:"),
        _said("assistant", row["choices"][row["answer"]]),
    ]


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


# Answers to questions about a class; the other half of its words are asked for by the suite alone.
_TAUGHT = {
    w for half in mmlu.CLASSES.values() for words in half.values() for w in words.split()[:4]
}


def _draw_choice(rng: random.Random, kind: str) -> Exercise:
    """Half of them ask for a word of a class, half for the operation of a problem, as in the suite."""
    if rng.random() < 0.5:
        return mmlu.draw_operation(rng, kind)
    exercise = mmlu.draw(rng, kind)
    while exercise.row["choices"][exercise.row["answer"]] not in _TAUGHT:
        exercise = mmlu.draw(rng, kind)
    return exercise


SKILLS: Mapping[str, tuple[Draw, Any, Any]] = {
    "instructions": (ifeval.draw, _instruction, ifeval.held_out),
    "choice": (_draw_choice, _choice, mmlu.held_out),
}


def chats(skill: str, count: int, seed: int) -> list[Chat]:
    """Chats of one of SKILLS, none about a document of its suite."""
    draw, as_chat, held_out = SKILLS[skill]
    held = {normalised(e.prompt) for exercises in held_out().values() for e in exercises}
    rng = random.Random(seed)
    found: list[Chat] = []
    while len(found) < count:
        exercise = draw(rng, rng.choice(KINDS))
        if normalised(exercise.prompt) not in held:
            found.append(as_chat(exercise))
    return found
