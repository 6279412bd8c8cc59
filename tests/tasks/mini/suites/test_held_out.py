"""The data files of all mini suites: what the generators write, enough of it, nothing twice."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from exme.tasks.documents import load_documents
from exme.tasks.mini import DATA
from exme.tasks.mini.suites import GENERATED, HALVES, gsm8k, normalised
from exme.tasks.mini.suites.held_out import write_held_out
from exme.tasks.mini.training.curriculum import corpora
from exme.tasks.mini.training.presets import FULL, SUITES
from exme.tasks.suite import load_suite, suite_names

LARGEST_FOLDER = 400_000  # bytes; the package carries them all


def test_every_suite_has_a_mini_form() -> None:
    assert sorted(SUITES) == suite_names()
    assert sorted([*GENERATED, "gsm8k"]) == sorted(p.name for p in DATA.iterdir())


@pytest.mark.parametrize("suite", GENERATED)
def test_the_committed_data_are_what_the_generator_writes(suite: str, tmp_path: Path) -> None:
    write_held_out(suite, tmp_path)
    written = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*.jsonl")}
    committed = {p.relative_to(DATA / suite): p for p in (DATA / suite).rglob("*.jsonl")}
    assert written.keys() == committed.keys()
    for path, text in written.items():
        assert text == committed[path].read_bytes(), path
    assert sum(map(len, written.values())) < LARGEST_FOLDER


@pytest.mark.parametrize("suite", suite_names())
def test_there_are_enough_documents_to_search_and_to_report_on(suite: str) -> None:
    documents = load_documents(load_suite(suite), "mini", search=None, report=None, seed=0)
    assert len(documents.search) >= 200
    assert len(documents.report) >= 500
    assert set(documents.suite.lm_eval_tasks) == {d.task for d in documents.search}
    examples = chain.from_iterable(documents.fewshot.values())
    groups = [{d.id for d in part} for part in (documents.search, documents.report, examples)]
    assert not groups[0] & groups[1] | groups[2] & (groups[0] | groups[1])


@pytest.mark.parametrize("suite", GENERATED)
def test_no_text_is_held_out_twice(suite: str) -> None:
    prompts = [normalised(e.prompt) for file in GENERATED[suite]().values() for e in file]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("suite", GENERATED)
def test_right_and_careless_answers_differ_and_both_fine_tunes_have_their_share(suite: str) -> None:
    found = [e for file in GENERATED[suite]().values() for e in file]
    for exercise in found:
        right = exercise.answer()
        for place in range(len(exercise.slots)):
            assert exercise.answer([i == place for i in range(len(exercise.slots))]) != right
    slots = [slot for e in found for slot in e.slots]
    shares = {half: sum(s.half == half for s in slots) / len(slots) for half in HALVES}
    assert all(0.4 < share < 0.6 for share in shares.values()), shares
    assert {min(s.place for s in slots), max(s.place for s in slots)} == {0.0, 1.0}


@pytest.mark.slow  # draws the whole corpora
def test_no_held_out_document_is_trained_on() -> None:
    exercises = [e for files in GENERATED.values() for file in files().values() for e in file]
    starts = sorted({e.description for e in exercises} - {""})
    held = {normalised(e.prompt) for e in exercises}
    held |= {normalised(p.document().prompt) for part in gsm8k.held_out() for p in part}
    problems = []
    for document in chain.from_iterable(corpora(FULL).values()):
        prompt = document.prompt
        for start in starts:
            prompt = prompt.removeprefix(start)
        key = normalised(prompt)
        assert key not in held, prompt
        if prompt.startswith("Question:"):
            problems.append(key)
    assert len(problems) > 50_000
    assert len(set(problems)) == len(problems)
