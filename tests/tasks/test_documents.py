"""Documents: disjoint splits, a stable choice, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exme.tasks.documents import load_documents, reads
from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite, suite_names

GSM8K = load_suite("gsm8k")


def write_data(folder: Path, rows: int = 12, **replaced: str) -> Path:
    for split in ("train", "test"):
        path = folder / "gsm8k" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"question": f"{split} {i}?", "answer": f"#### {i}"}) for i in range(rows)
        ]
        path.write_text(replaced.get(split, "\n".join(lines) + "\n"), encoding="utf-8")
    return folder


def test_no_document_stands_in_two_splits() -> None:
    documents = load_documents(GSM8K, "mini", search=None, report=None, seed=0)
    groups = [documents.fewshot["gsm8k"], documents.search, documents.report]
    questions = [d.row["question"].lower().split() for group in groups for d in group]
    assert len({" ".join(q) for q in questions}) == len(questions)
    assert {d.id for d in documents.search}.isdisjoint(d.id for d in documents.fewshot["gsm8k"])


def test_the_choice_is_the_same_everywhere() -> None:
    # Written down on 2026-11-23: the choice may never change for a given seed.
    documents = load_documents(GSM8K, "mini", search=5, report=3, seed=0)
    assert [d.id for d in documents.search] == EXPECTED_SEARCH
    assert [d.id for d in documents.report] == EXPECTED_REPORT


EXPECTED_SEARCH = ["train/101", "train/189", "train/279", "train/271", "train/52"]
EXPECTED_REPORT = ["test/402", "test/652", "test/373"]


def test_a_smaller_choice_is_the_head_of_a_larger_one() -> None:
    small = load_documents(GSM8K, "mini", search=20, report=20, seed=1)
    large = load_documents(GSM8K, "mini", search=100, report=100, seed=1)
    assert small.search == large.search[:20]
    assert small.report == large.report[:20]
    assert load_documents(GSM8K, "mini", search=20, report=20, seed=2).search != small.search


def test_real_data_comes_from_a_folder(shared: Path) -> None:
    documents = load_documents(GSM8K, str(shared / "data"), search=None, report=None, seed=0)
    assert (len(documents.fewshot["gsm8k"]), len(documents.search), len(documents.report)) == (
        5,
        7468,
        1319,
    )


def test_a_missing_file_is_named_with_its_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gsm8k/train\.jsonl: no such file.*question, answer"):
        load_documents(GSM8K, str(tmp_path), search=1, report=1, seed=0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ('{"question": "a?"}\n', r"train\.jsonl:1: column 'answer' is missing \(found: question\)"),
        ("[1, 2]\n", r"train\.jsonl:1: expected a JSON object, found list"),
        ('{"question": \n', r"train\.jsonl:1: not a JSON object in UTF-8"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, broken: str, message: str) -> None:
    write_data(tmp_path, train=broken)
    with pytest.raises(UserError, match=message):
        load_documents(GSM8K, str(tmp_path), search=1, report=1, seed=0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1" + "0" * 19, "holds 10000000000000000000, an integer beyond 64 bits"),
        ('{"a": [-9223372036854775809]}', "holds -9223372036854775809, an integer beyond 64 bits"),
        (r'"half \ud83d of one"', "holds half of a surrogate pair"),
        (r'[{"\udc00": 1}]', "holds half of a surrogate pair"),
    ],
)
def test_what_no_data_set_can_hold_is_named_by_line_and_column(
    tmp_path: Path, value: str, message: str
) -> None:
    write_data(tmp_path)
    train = tmp_path / "gsm8k" / "train.jsonl"
    more = f'{{"question": "a?", "answer": "b", "other": {value}}}\n'
    train.write_text(train.read_text() + more)
    with pytest.raises(UserError, match=rf"train\.jsonl:\d+: column 'other' {message}"):
        load_documents(GSM8K, str(tmp_path), search=1, report=1, seed=0)


def test_what_looks_like_it_and_can_be_held_is_read(tmp_path: Path) -> None:
    write_data(tmp_path)
    train = tmp_path / "gsm8k" / "train.jsonl"
    more = (
        r'{"question": "\ud83d\ude00", "answer": "9223372036854775807", "n": 9223372036854775807}'
    )
    train.write_text(train.read_text() + more + "\n")
    load_documents(GSM8K, str(tmp_path), search=1, report=1, seed=0)


def test_too_few_documents_are_refused_with_their_number(tmp_path: Path) -> None:
    write_data(tmp_path)
    with pytest.raises(UserError, match=r"search documents: 8 asked for, 7 there"):
        load_documents(GSM8K, str(tmp_path), search=8, report=1, seed=0)
    write_data(tmp_path, rows=4)
    with pytest.raises(UserError, match=r"has 4 documents, but 5 are needed"):
        load_documents(GSM8K, str(tmp_path), search=1, report=1, seed=0)


def test_the_hub_out_of_reach_gives_one_clear_line() -> None:
    with pytest.raises(
        UserError, match=r"cannot load 'openai/gsm8k' from the hub.*EXME_DATA"
    ) as refusal:
        load_documents(GSM8K, "hub", search=1, report=1, seed=0)
    assert "\n" not in str(refusal.value)


def test_an_unknown_suite_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no suite 'gsm8'.*did you mean 'gsm8k'\?"):
        load_suite("gsm8")


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_file_explains_its_version(name: str) -> None:
    suite = load_suite(name)
    assert suite.suite == name
    assert suite.version in suite.changes


def test_documents_that_read_the_same_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    questions = {
        "train": [f"How many are {i} and {i}?" for i in range(8)],
        "test": ["how many  are 7 and 7", "How many are 30 and 1?", "How many are 0 and 0!"],
    }
    for split, texts in questions.items():
        rows = [json.dumps({"question": text, "answer": "#### 1"}) for text in texts]
        (folder / f"{split}.jsonl").write_text("\n".join(rows))
    documents = load_documents(load_suite("gsm8k"), str(tmp_path), search=3, report=3, seed=0)
    assert set(documents.near_duplicates) == {("train/7", "test/0"), ("train/0", "test/2")}


def test_a_row_that_stands_in_the_data_again_is_one_document(tmp_path: Path) -> None:
    """Ten copies of a document are answered alike: as ten they would make a gain look surer than it is."""
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    rows = [{"question": f"How many are {i}?", "answer": f"#### {i % 3}"} for i in range(12)]
    other = {**rows[0], "answer": "#### 2"}  # (the same question, another answer)
    for split in ("train", "test"):
        some = [*rows, other] * 4 if split == "test" else rows
        text = "\n".join(json.dumps(row, sort_keys=n % 2 == 0) for n, row in enumerate(some))
        (folder / f"{split}.jsonl").write_text(text)
    suite = load_suite("gsm8k")
    documents = load_documents(suite, str(tmp_path), search=None, report=None, seed=0)
    asked = sorted(d.row["question"] for d in documents.report)
    assert asked == sorted(row["question"] for row in (*rows, other))
    assert documents.repeats == 39
    with pytest.raises(UserError, match="14 asked for, 13 there"):
        load_documents(suite, str(tmp_path), search=None, report=14, seed=0)


def test_signs_that_mean_something_tell_documents_apart() -> None:
    assert reads("Input: [ ( <") != reads("Input: [ ( {")
    assert reads("What is $3 + 4$?") != reads("What is $3 - 4$?")
    assert reads("How many  are there ?") == reads("how many are there")


def test_a_document_that_the_task_shows_as_an_example_is_never_scored(tmp_path: Path) -> None:
    suite = load_suite("math")
    suite = suite.model_copy(update={"lm_eval_tasks": {"minerva_math_algebra": "algebra"}})
    folder = tmp_path / "minerva_math" / "algebra"
    folder.mkdir(parents=True)
    rows = [{"problem": f"Find {i}.", "solution": f"$\\boxed{{{i}}}$"} for i in range(4)]
    shown = [{"problem": question, "solution": "$\\boxed{1}$"} for question in suite.fewshot.own]
    for split, some in (("train", shown[:2] + rows[:2]), ("test", rows[2:] + shown[2:])):
        (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(row) for row in some))
    documents = load_documents(suite, str(tmp_path), search=None, report=None, seed=0)
    assert {d.id for d in documents.search} == {"algebra/train/2", "algebra/train/3"}
    assert {d.id for d in documents.report} == {"algebra/test/0", "algebra/test/1"}
