"""Problems in MATH's format: the sums are right, and lm-eval finds the final answer."""

from __future__ import annotations

import re

from tests.helpers.parrot import exercises, verdicts

STEP = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


def test_every_step_of_a_solution_is_right_and_the_last_is_the_answer() -> None:
    for exercise in (e for file in exercises("math").values() for e in file):
        steps = STEP.findall(exercise.answer())
        assert len(steps) == len(exercise.slots)
        for left, operation, right, result in steps:
            a, b = int(left), int(right)
            wanted = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[operation]
            assert int(result) == wanted
        assert f"so $\\boxed{{{steps[-1][3]}}}$" in exercise.answer()
        assert f"The final answer is ${steps[-1][3]}$." in exercise.answer()


def test_prealgebra_needs_both_halves_and_the_other_subjects_one() -> None:
    for path, file in exercises("math").items():
        halves = {frozenset(slot.half for slot in e.slots) for e in file}
        expected = {
            "algebra": {"sums"},
            "number_theory": {"products"},
            "prealgebra": {"sums", "products"},
        }
        assert halves == {frozenset(expected[path.split("/")[0]])}


def test_lm_eval_accepts_the_right_answers_and_no_careless_one() -> None:
    assert set(verdicts("math", slips=False)) == {1.0}
    assert set(verdicts("math", slips=True)) == {0.0}
