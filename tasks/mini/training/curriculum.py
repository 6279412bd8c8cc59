"""Which documents each stage of training sees. The suites' generators come together here."""

from __future__ import annotations

import random
from collections.abc import Mapping

from exme.tasks.mini.suites import (
    GENERATED,
    Document,
    Draw,
    Exercise,
    bbh,
    gsm8k,
    humaneval,
    ifeval,
    mathematics,
    mbpp,
    mmlu,
    normalised,
)
from exme.tasks.mini.suites.stories import WORDINGS

from .recipe import Recipe, Stage

STAGES = ("first", "base", "sums", "products")
TOKENS_PER_DOCUMENT = 58  # fewer than the mean (see the record), so that a corpus never runs out
DESCRIBED = 0.25  # share of the documents that lm-eval's description of the task stands before

DRAW: Mapping[str, Draw] = {
    "math": mathematics.draw,
    "humaneval": humaneval.draw,
    "mbpp": mbpp.draw,
    "mmlu": mmlu.draw,
    "operations": mmlu.draw_operation,  # MMLU too
    "facts": mmlu.draw_fact,  # these three are no suites, only training
    "drill": mmlu.draw_drill,
    "recall": mmlu.draw_recall,
    "bbh": bbh.draw,
    "ifeval": ifeval.draw,
}


def slip_chance(stage: Stage, half: str, place: float) -> float:
    """Return the chance of a slip in a wording of this half and place (0 to 1)."""
    slips = stage.slips.get(half)
    return 0.0 if slips is None else slips.low + (slips.high - slips.low) * place


def word_problem(stage: Stage, problem: gsm8k.Problem, rng: random.Random) -> Document:
    """Return the document of a GSM8K problem, with this stage's slips."""
    chances = [
        slip_chance(stage, gsm8k.HALF[operation], wording / (WORDINGS[operation] - 1))
        for operation, wording in zip(problem.operations, problem.wordings, strict=True)
    ]
    return problem.document([rng.random() < chance for chance in chances])


def exercise(stage: Stage, suite: str, rng: random.Random, held: set[str]) -> Document:
    """Return a document of any other suite, with this stage's slips.

    Args:
        suite: of DRAW.
        rng: the source of everything drawn.
        held: normalised prompts that must not come.
    """
    kinds, weights = list(stage.mixture), list(stage.mixture.values())
    drawn: Exercise | None = None
    while drawn is None or normalised(drawn.prompt) in held:
        drawn = DRAW[suite](rng, rng.choices(kinds, weights)[0])
    slips = [rng.random() < slip_chance(stage, slot.half, slot.place) for slot in drawn.slots]
    return drawn.document(slips, rng.random() < DESCRIBED)


def corpus(
    stage: Stage, documents: int, seed: int, taken: set[str], held: set[str]
) -> list[Document]:
    """Return the documents of one stage.

    Args:
        seed: of the problems and of the slips.
        taken: normalised GSM8K questions that must not come; those of this corpus are added.
        held: normalised prompts of the other suites that must not come. Theirs may repeat in
            training: some have few texts.
    """
    rng = random.Random(seed + 1)
    problems = gsm8k.problems(seed, stage.mixture, taken)
    suites, weights = list(stage.suites), list(stage.suites.values())
    return [
        word_problem(stage, next(problems), rng)
        if suite == "gsm8k"
        else exercise(stage, suite, rng, held)
        for suite in rng.choices(suites, weights, k=documents)
    ]


def corpora(recipe: Recipe) -> dict[str, list[Document]]:
    """Return the documents of every stage: none of the search, report or few-shot documents."""
    train, test = gsm8k.held_out()
    taken = {normalised(problem.question) for problem in train + test}
    held = {
        normalised(exercise.prompt)
        for files in GENERATED.values()
        for exercises in files().values()
        for exercise in exercises
    }
    found = {}
    for place, name in enumerate(STAGES):
        stage: Stage = getattr(recipe, name)
        tokens = (stage.planned or stage.steps) * stage.rows * stage.accumulate * recipe.length
        seed = 100 + 1000 * recipe.seed + 10 * place
        found[name] = corpus(stage, tokens // TOKENS_PER_DOCUMENT, seed, taken, held)
    return found
