"""The generator: right answers, GSM8K's format, no problem in two splits."""

from __future__ import annotations

import random
import re
from itertools import islice
from pathlib import Path

import pytest

from exme.tasks.mini import DATA
from exme.tasks.mini.suites import gsm8k
from exme.tasks.mini.suites.corpus import normalised, read_json_lines
from exme.tasks.mini.suites.exercise import KINDS
from exme.tasks.mini.suites.stories import WORDINGS
from exme.tasks.mini.training.curriculum import corpora
from exme.tasks.mini.training.presets import TINY

ANNOTATION = re.compile(r"(\d+)([-+*/])(\d+)=<<(\d+)([-+*/])(\d+)=(\d+)>>(\d+)")
EVEN = dict.fromkeys(KINDS, 1.0)


def _value(left: int, operation: str, right: int) -> float:
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[operation]


@pytest.fixture(scope="module")
def drawn() -> list[gsm8k.Problem]:
    return list(islice(gsm8k.problems(7, EVEN), 2000))


def test_every_annotation_evaluates_to_its_result(drawn: list[gsm8k.Problem]) -> None:
    for problem in drawn:
        *lines, last = problem.answer().split("\n")
        value = problem.start
        for line in lines:
            found = ANNOTATION.findall(line)
            assert len(found) == 1, line
            left, operation, right, *inner = found[0]
            assert inner[:3] == [left, operation, right]
            assert inner[3] == inner[4]
            assert int(left) == value
            value = int(inner[4])
            assert value == _value(int(left), operation, int(right))
            assert 0 < value <= gsm8k.LARGEST
        assert last == f"#### {value}"


def test_steps_come_in_the_order_of_the_story(drawn: list[gsm8k.Problem]) -> None:
    for problem in drawn:
        numbers = [int(n) for n in re.findall(r"\d+", problem.question)]
        assert numbers == [problem.start, *problem.numbers]


def test_problems_have_one_to_three_steps_and_the_kind_of_their_operations(
    drawn: list[gsm8k.Problem],
) -> None:
    assert {len(p.operations) for p in drawn} == {1, 2, 3}
    for problem in drawn:
        allowed = {"sums": "+-", "products": "*/", "mixed": "+-*/"}[problem.kind]
        assert set(problem.operations) <= set(allowed)
        assert problem.kind != "mixed" or len(problem.operations) > 1


def test_texts_are_varied(drawn: list[gsm8k.Problem]) -> None:
    shapes = {re.sub(r"\d+", "#", p.question) for p in drawn}
    assert len(shapes) > 1500
    assert sum(WORDINGS.values()) >= 36


def test_no_placeholder_is_left(drawn: list[gsm8k.Problem]) -> None:
    for problem in drawn:
        assert not set("{}") & set(problem.question + problem.answer())


def test_a_kind_with_no_weight_never_comes() -> None:
    some = islice(gsm8k.problems(3, {"sums": 1.0, "products": 0.0, "mixed": 0.0}), 200)
    assert {p.kind for p in some} == {"sums"}


def test_the_same_seed_gives_the_same_problems() -> None:
    assert list(islice(gsm8k.problems(5, EVEN), 50)) == list(islice(gsm8k.problems(5, EVEN), 50))


def test_a_slip_changes_the_answer_and_all_that_follows() -> None:
    problem = gsm8k.draw_problem(random.Random(1), "*+")
    good, bad = problem.answer(), problem.answer([True, False])
    assert bad != good
    wrong = problem.start * (problem.numbers[0] - 1)
    assert bad.endswith(f"#### {wrong + problem.numbers[1]}")
    assert problem.answer([False, False]) == good


@pytest.mark.parametrize(
    ("value", "operation", "number", "expected"),
    [(28, "+", 35, 53), (21, "+", 35, 56), (52, "-", 17, 45), (7, "*", 6, 35), (42, "/", 6, 8)],
)
def test_slips_forget_a_carry_or_a_group(
    value: int, operation: str, number: int, expected: int
) -> None:
    assert gsm8k.slip(value, operation, number) == expected


def test_the_committed_data_are_what_the_generator_writes(tmp_path: Path) -> None:
    gsm8k.write_held_out(tmp_path)
    for name in ("train.jsonl", "test.jsonl"):
        assert (tmp_path / name).read_bytes() == (DATA / "gsm8k" / name).read_bytes()


def committed(split: str) -> list[dict[str, str]]:
    name, rows = {
        "fewshot": ("train", slice(gsm8k.FEWSHOT)),
        "search": ("train", slice(gsm8k.FEWSHOT, None)),
        "report": ("test", slice(None)),
    }[split]
    return read_json_lines(DATA / "gsm8k" / f"{name}.jsonl")[rows]


def test_splits_have_the_stated_sizes() -> None:
    sizes = {split: len(committed(split)) for split in ("fewshot", "search", "report")}
    assert sizes == {"fewshot": 4, "search": 512, "report": 1000}


def test_the_fewshots_cover_every_operation() -> None:
    text = "".join(row["answer"] for row in committed("fewshot"))
    assert {operation for _, operation, *_ in ANNOTATION.findall(text)} == set("+-*/")


def test_no_problem_is_in_two_splits() -> None:
    rows = [r for s in ("fewshot", "search", "report") for r in committed(s)]
    questions = [normalised(row["question"]) for row in rows]
    assert len(set(questions)) == len(questions)


def test_no_held_out_problem_is_in_a_small_corpus() -> None:  # test_held_out.py: in any
    held = {
        f"question: {normalised(row['question'])} answer:"
        for split in ("fewshot", "search", "report")
        for row in committed(split)
    }
    documents = [d for stage in corpora(TINY).values() for d in stage]
    prompts = [normalised(d.prompt) for d in documents if d.prompt.startswith("Question:")]
    assert len(prompts) > len(documents) / 4
    assert not held & set(prompts)
    assert len(set(prompts)) == len(prompts)
