"""What a suite leaves to its lm-eval tasks, settled before anything is loaded."""

from __future__ import annotations

from dataclasses import replace

from exme.tasks import SuiteDocuments

from .judge import Judge


def settle(documents: SuiteDocuments) -> SuiteDocuments:
    """The same, once lm-eval's tasks have made prompts of them all: the suite then knows its direction.

    Raises:
        UserError: the suite's metric, few-shot examples or generation settings cannot be used, or a task
            makes no prompts of the documents, or cannot score one.
    """
    judges = [Judge(documents, split) for split in ("search", "report")]
    for judge in judges:
        judge.try_documents()
    ways = {judge.higher_is_better for judge in judges}
    suite = documents.suite.model_copy(update={"higher_is_better": ways == {True}})
    return replace(documents, suite=suite)
