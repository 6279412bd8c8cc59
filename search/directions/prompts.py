"""The examples that directions are computed from: search documents, as lm-eval's tasks put them.

Report documents are taken away before anything is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from exme.evaluators.harness import Judge
from exme.tasks import SuiteDocuments, UserError

from .bench import LONGEST, Example

if TYPE_CHECKING:
    from exme.evaluators.harness import Chat, StockEngine

    from .catalogue import About

# Search documents that a direction uses, of all suites together.
COUNT = 32


@dataclass(frozen=True)
class Examples:
    """Examples, and the documents that they are: ``<suite>:<document>``."""

    examples: tuple[Example, ...]
    documents: tuple[str, ...]


def pick(documents: Sequence[SuiteDocuments]) -> list[SuiteDocuments]:
    """The last search documents of every suite, `COUNT` in all, and no report documents.

    The last, because races between candidates begin with the first.
    """
    share = max(1, COUNT // len(documents))
    return [replace(found, search=found.search[-share:], report=()) for found in documents]


def examples_for(
    about: About, picked: Sequence[SuiteDocuments], stock: StockEngine, chat: Chat
) -> Examples:
    """The examples that a direction needs, with reference answers where it learns from them.

    Raises:
        UserError: it learns from reference answers, and a suite has none.
    """
    if about.needs != "references":
        return _collect(picked, stock, chat, answers=False)
    try:
        return _collect(picked, stock, chat, answers=True)
    except UserError as error:
        raise UserError(
            f"direction '{about.name}' learns from reference answers, and there are none: {error}; "
            f"or leave '{about.name}' out of `directions`"
        ) from None


def _collect(
    picked: Sequence[SuiteDocuments], stock: StockEngine, chat: Chat, *, answers: bool
) -> Examples:
    longest = min(LONGEST, stock.max_length)
    examples, documents = [], []
    for found in picked:
        judge = Judge(found, "search", chat)
        pairs = judge.references if answers else [(text, "") for text in judge.prompts]
        for document, (context, answer) in zip(judge.documents, pairs, strict=True):
            if answers:
                prompt, target = stock.encode_choice(context, answer)
            else:
                prompt, target = stock.encode_prompt(context, longest), []
            target = target[: longest - 1]
            prompt = prompt[-(longest - len(target)) :]
            size = max(1, len(answer.encode()))
            examples.append(Example(tuple(prompt), tuple(target), size))
            documents.append(f"{found.suite.suite}:{document.id}")
    return Examples(tuple(examples), tuple(documents))
