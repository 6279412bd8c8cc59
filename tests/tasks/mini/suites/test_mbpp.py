"""Functions of lists in MBPP's format: asserts that run and notice a slip."""

from __future__ import annotations

import sys

import pytest

from tests.helpers.parrot import exercises, verdicts


def test_a_row_has_three_asserts_of_the_function_that_its_code_defines() -> None:
    for exercise in (e for file in exercises("mbpp").values() for e in file):
        name = exercise.row["code"].split("(")[0].removeprefix("def ")
        assert len(exercise.row["test_list"]) == 3
        assert all(test.startswith(f"assert {name}([") for test in exercise.row["test_list"])


def test_only_the_examples_are_marked_as_such() -> None:
    for path, file in exercises("mbpp").items():
        assert {e.row.get("is_fewshot", False) for e in file} == {path == "prompt"}


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of Linux")
def test_the_asserts_pass_right_answers_and_no_careless_one() -> None:
    assert set(verdicts("mbpp", slips=False, count=50)) == {1.0}
    assert set(verdicts("mbpp", slips=True, count=50)) == {0.0}
