"""What a suite leaves to its lm-eval tasks, settled before anything is loaded."""

from __future__ import annotations

from dataclasses import replace

from exme.tasks import SuiteDocuments

from .judge import Judge


def settle(documents: SuiteDocuments) -> SuiteDocuments:
    """The same, once lm-eval's tasks have made prompts of them all: the suite then knows its direction.

    Raises:
        UserError: the suite's metric, few-shot examples or generation settings cannot be used, or a task
            makes no prompts of the documents.
    """
    ways = {Judge(documents, split).higher_is_better for split in ("search", "report")}
    suite = documents.suite.model_copy(update={"higher_is_better": ways == {True}})
    return replace(documents, suite=suite)
