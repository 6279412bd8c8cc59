"""Multiple choice in MMLU's format: one right choice, its neighbour for the careless."""

from __future__ import annotations

import re
from collections import Counter

from exme.tasks.mini.suites.mmlu import CLASSES, OPERATIONS, OPERATIONS_SUBJECT, PROBLEMS, SUBJECTS
from tests.helpers.parrot import exercises, verdicts


def test_no_word_is_of_two_classes() -> None:
    words = [w for half in CLASSES.values() for text in half.values() for w in text.split()]
    assert len(set(words)) == len(words)


def test_one_of_four_different_choices_is_of_the_class_asked_for() -> None:
    for path, file in exercises("mmlu").items():
        if path.startswith(OPERATIONS_SUBJECT):
            continue
        (half,) = (h for h, subject in SUBJECTS.items() if subject == path.split("/")[0])
        for exercise in file:
            row = exercise.row
            (asked,) = (name for name in CLASSES[half] if f" {name}" in row["question"])
            of_class = [c in CLASSES[half][asked].split() for c in row["choices"]]
            assert of_class.count(True) == 1
            assert of_class.index(True) == row["answer"]
            assert len(set(row["choices"])) == 4


def test_the_right_operation_is_that_of_the_wording() -> None:
    wordings = [wording for half in PROBLEMS.values() for wording in half]
    for split in ("dev", "validation", "test"):
        for exercise in exercises("mmlu")[f"{OPERATIONS_SUBJECT}/{split}"]:
            row = exercise.row
            assert row["choices"] == list(OPERATIONS)
            (operation,) = (
                operation
                for text, operation in wordings
                if re.fullmatch(
                    re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(text)) + " Which operation tells\\?",
                    row["question"],
                )
            )
            assert OPERATIONS[row["answer"]] == operation


def test_the_four_letters_are_right_about_equally_often() -> None:
    letters = Counter(e.row["answer"] for file in exercises("mmlu").values() for e in file)
    assert max(letters.values()) < 0.32 * letters.total()


def test_lm_eval_accepts_the_right_answers_and_no_careless_one() -> None:
    assert set(verdicts("mmlu", slips=False)) == {1.0}
    assert set(verdicts("mmlu", slips=True)) == {0.0}
