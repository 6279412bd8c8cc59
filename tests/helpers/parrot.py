"""An engine that says the answers it was given, and lm-eval's verdict on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exme.evaluators.harness import Judge
from exme.tasks.documents import load_documents
from exme.tasks.mini.suites import GENERATED
from exme.tasks.mini.suites.exercise import Exercise
from exme.tasks.suite import load_suite


class Parrot:
    """Answers a prompt as the last of the known prompts in it is answered, cut as an engine does."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = answers

    def answer(self, context: str) -> str:
        """Return the answer to the prompt that the context ends with."""
        at = len(context)
        while True:
            at = context.rfind("\n\n", 0, at) if at > 0 else -1
            prompt = context[at + 2 :] if at >= 0 else context
            if prompt in self.answers:
                return self.answers[prompt]
            assert at >= 0, context

    def generate_until(self, requests: list[Any]) -> list[str]:
        answers = []
        for request in requests:
            context, settings = request.args
            answer = self.answer(context)
            for stop in filter(None, settings["until"]):
                answer = answer.split(stop)[0]
            answers.append(answer)
        return answers

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        hits = [self.answer(r.args[0]) == r.args[1] for r in requests]
        return [(-1.0 if hit else -2.0, hit) for hit in hits]

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def exercises(suite: str) -> dict[str, list[Exercise]]:
    """The exercises of each of the suite's files."""
    return GENERATED[load_suite(suite).folder or suite]()


def verdicts(suite: str, *, slips: bool, count: int = 100) -> list[float]:
    """lm-eval's score of right (or, all through, careless) answers to search documents."""
    documents = load_documents(load_suite(suite), "mini", search=count, report=None, seed=0)
    answers = {
        exercise.prompt: exercise.answer([slips] * len(exercise.slots))
        for file in exercises(suite).values()
        for exercise in file
    }
    return list(Judge(documents, "search").score(Parrot(answers)).scores.values)
