"""Instructions of IFEval's: lm-eval's own checkers say which answers follow them."""

from __future__ import annotations

import pytest
from lm_eval.tasks.ifeval import instructions_registry

from exme.tasks.mini.suites.ifeval import ASKED, INSTRUCTIONS
from tests.helpers.parrot import exercises, verdicts


def test_the_instructions_are_lm_evals_and_each_belongs_to_one_half() -> None:
    names = [name for half in INSTRUCTIONS.values() for name in half]
    assert sorted(names) == sorted(ASKED)
    assert set(names) <= instructions_registry.INSTRUCTION_DICT.keys()


def test_arguments_are_what_the_checkers_take() -> None:
    for exercise in exercises("ifeval")["train"]:
        row = exercise.row
        assert len(row["instruction_id_list"]) == len(row["kwargs"]) == len(exercise.slots)
        for name, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            checker = instructions_registry.INSTRUCTION_DICT[name](name)
            checker.build_description(**arguments)
            given = checker.get_instruction_args() or {}
            assert arguments.items() <= given.items()


@pytest.mark.parametrize("slips", [False, True])
def test_lm_eval_accepts_the_right_answers_and_no_careless_one(slips: bool) -> None:
    assert set(verdicts("ifeval", slips=slips, count=400)) == {float(not slips)}
