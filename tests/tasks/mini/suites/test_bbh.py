"""Four of BIG-Bench Hard's subtasks: the answers follow from the questions."""

from __future__ import annotations

import re

from exme.tasks.mini.suites.bbh import CLOSING, NUMBERS, SUBTASKS
from tests.helpers.parrot import exercises, verdicts


def solve(subtask: str, text: str) -> str:
    """Solve a question from its text alone."""
    if subtask == "object_counting":
        listed = text.removeprefix("There is a").partition(" How many")[0].split()
        return str(sum(NUMBERS.index(word) + 1 for word in listed if word in NUMBERS))
    if subtask == "word_sorting":
        return " ".join(sorted(text.rsplit(": ", maxsplit=1)[-1].split()))
    if subtask == "dyck_languages":
        opened: list[str] = []
        for sign in text.split("Input: ")[1].split():
            if sign in CLOSING:
                opened.append(sign)
            else:
                assert CLOSING[opened.pop()] == sign
        return " ".join(CLOSING[sign] for sign in reversed(opened))
    asked = re.findall(r"(\w+)\?", text)[0]
    colour = re.findall(rf"a (\w+) {asked}\b", text)[0]
    return str(re.findall(rf"(\([ABC]\)) {colour}$", text, re.MULTILINE)[0])


def test_every_target_is_the_answer_to_its_question() -> None:
    for path, file in exercises("bbh").items():
        subtask, split = path.split("/")
        for exercise in file:
            target = exercise.row["target"]
            if split == "dev":
                assert target.endswith(f"So the answer is {solve(subtask, exercise.row['input'])}.")
            else:
                assert target == solve(subtask, exercise.row["input"])


def test_no_text_holds_the_letter_at_which_lm_eval_stops() -> None:
    for exercise in (e for file in exercises("bbh").values() for e in file):
        assert "Q" not in exercise.answer()
        assert "\n\n" not in exercise.answer()


def test_each_half_has_two_subtasks() -> None:
    halves = [half for half, *_ in SUBTASKS.values()]
    assert halves.count("sums") == halves.count("products") == 2


def test_lm_eval_accepts_the_right_answers_and_no_careless_one() -> None:
    assert set(verdicts("bbh", slips=False)) == {1.0}
    assert set(verdicts("bbh", slips=True)) == {0.0}
