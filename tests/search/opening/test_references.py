"""Reference answers that a search takes from its own checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from exme.evaluators.harness import Evaluation
from exme.evaluators.scores import DocumentScores
from exme.search.merging.candidate import Candidate
from exme.search.opening.references import (
    COLUMN,
    collect_references,
    describe_references,
    lack_references,
    with_references,
)
from exme.search.running.search import Search, open_search
from exme.search.study.study_file import StudyFile
from exme.tasks.documents import SuiteDocuments, load_documents
from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite
from tests.helpers.searches.hearing import Hearing

IFEVAL = load_documents(load_suite("ifeval"), "mini", search=5, report=2, seed=0)
NAMES = ("one", "other")
INPUTS = [Candidate({n: float(n == name) for n in NAMES}, "exme", "float32", {}) for name in NAMES]


@dataclass
class Answering:
    """A worker whose inputs answer with their name and the document's place, some of them right."""

    right: dict[str, set[int]]
    documents: Sequence[SuiteDocuments] = (IFEVAL,)

    def answer(self, candidate: Candidate, suites: Collection[str]) -> dict[str, Evaluation]:
        name = next(n for n in NAMES if candidate.coefficients[n])
        search = IFEVAL.search
        ids = tuple(d.id for d in search)
        values = tuple(float(i in self.right[name]) for i in range(len(search)))
        scores = DocumentScores("ifeval", "search", "metric", ids, values, 0)
        assert list(suites) == ["ifeval"]
        return {"ifeval": Evaluation(scores, tuple(f"{name} {i}" for i in range(5)), 0.0)}


def collect(one: set[int], other: set[int]) -> dict[str, str]:
    found = collect_references(
        Answering({"one": one, "other": other}),  # type: ignore[arg-type]
        INPUTS,
        ["ifeval"],
    )
    return dict(found["ifeval"])


def test_inputs_take_turns_and_wrong_answers_are_no_reference() -> None:
    ids = [d.id for d in IFEVAL.search]
    assert collect({0, 1, 2}, {0, 1, 3}) == {
        ids[0]: "one 0",
        ids[1]: "other 1",
        ids[2]: "one 2",
        ids[3]: "other 3",
    }


def test_documents_that_nobody_answers_stay_as_they_are() -> None:
    found = {"ifeval": collect({0}, {3})}
    (filled,) = with_references([IFEVAL], found)
    assert [d.row.get(COLUMN) for d in filled.search] == ["one 0", None, None, "other 3", None]
    assert filled.report == IFEVAL.report
    assert [d.id for d in filled.search] == [d.id for d in IFEVAL.search]
    assert "2 of 5 search documents" in describe_references([IFEVAL], found)[0]


def test_no_right_answer_at_all_is_refused() -> None:
    with pytest.raises(UserError, match=r"'ifeval': no reference answers.*of its 5 search.*metric"):
        collect(set(), set())


def test_only_suites_that_ask_for_it_take_references_from_inputs() -> None:
    gsm8k = load_documents(load_suite("gsm8k"), "mini", search=2, report=1, seed=0)
    assert lack_references([gsm8k, IFEVAL]) == ["ifeval"]
    full = with_references([IFEVAL], {"ifeval": {d.id: "said" for d in IFEVAL.search}})
    assert lack_references(full) == []


def search_ifeval(tmp_path: Path, screen: Hearing) -> Search:
    study = StudyFile.model_validate(
        {
            "base": "mini/base",
            "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
            "suites": ["ifeval"],
            "measure": "target_nll",
            "data": "mini",
            "documents": {"search": 16, "report": 8},
            "budget": {"trials": 3},
            "racing": "off",
        }
    )
    return open_search(study, runs=tmp_path, screen=screen)


def test_a_search_by_target_nll_takes_them_once_and_reports_by_the_metric(tmp_path: Path) -> None:
    screen = Hearing()
    with search_ifeval(tmp_path, screen) as search:
        outcome = search.run()
        found = search.storage.record.agreed("references")["ifeval"]
        values = next(t.scores for t in outcome.trials if t.origin == "sums alone")
    assert 0 < len(found) < 16
    assert sum("reference answers for" in line for line in screen.lines) == 1
    assert values is not None
    for document, value in zip(values.parts[0].documents, values.parts[0].values, strict=True):
        assert (value < 0) == (document in found)
    assert {e.report.metric for e in outcome.inputs} == {"prompt_level_strict_acc,none"}
    assert {e.proxy for e in outcome.inputs} == {None}

    again = Hearing()
    with search_ifeval(tmp_path, again) as search:
        search.run()
        assert search._worker is None  # nothing was left to do, so no model was loaded
    assert not any("reference answers for" in line for line in again.lines)
