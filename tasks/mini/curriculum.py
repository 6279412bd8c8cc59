"""Which documents each stage of training sees. The suites' generators come together here."""

from __future__ import annotations

import random
from itertools import islice

from . import gsm8k
from .corpus import Document, normalised
from .recipe import Recipe, Stage

STAGES = ("base", "sums", "products")
TOKENS_PER_DOCUMENT = 75  # fewer than the mean (about 90), so that a corpus never runs out


def slip_chance(stage: Stage, problem: gsm8k.Problem, step: int) -> float:
    """Return the chance that this step is solved wrongly in this stage's corpus."""
    slips = stage.slips.get(problem.operations[step])
    if slips is None:
        return 0.0
    last = gsm8k.WORDINGS[problem.operations[step]] - 1
    return slips.low + (slips.high - slips.low) * problem.wordings[step] / last


def corpus(stage: Stage, documents: int, seed: int, taken: set[str]) -> list[Document]:
    """Return the documents of one stage.

    Args:
        documents: how many.
        seed: of the problems and of the slips.
        taken: normalised questions that must not come; those of this corpus are added.
    """
    rng = random.Random(seed + 1)
    found = []
    for problem in islice(gsm8k.problems(seed, stage.mixture, taken), documents):
        slips = [
            rng.random() < slip_chance(stage, problem, step)
            for step in range(len(problem.operations))
        ]
        found.append(problem.document(slips))
    return found


def corpora(recipe: Recipe) -> dict[str, list[Document]]:
    """Return the documents of every stage: none twice, none of the search or report documents."""
    train, test = gsm8k.held_out()
    taken = {normalised(problem.question) for problem in train + test}
    stages = {"base": recipe.base, "sums": recipe.sums, "products": recipe.products}
    return {
        name: corpus(
            stage,
            stage.steps * stage.rows * stage.accumulate * recipe.length // TOKENS_PER_DOCUMENT,
            100 + 1000 * recipe.seed + 10 * place,
            taken,
        )
        for place, (name, stage) in enumerate(stages.items())
    }
