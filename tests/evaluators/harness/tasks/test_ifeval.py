"""IFEval's checks: no download where none is needed, a clear refusal where one is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nltk
import pytest

from exme.evaluators.harness import Judge
from exme.evaluators.harness.tasks.ifeval import NEED_PUNKT
from exme.tasks.documents import SuiteDocuments, load_documents
from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite


@pytest.fixture
def without_punkt(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine without punkt_tab and without a network; returns what was to be downloaded."""
    wanted: list[str] = []

    def download(name: str, **_: Any) -> bool:
        wanted.append(name)
        return False

    def find(name: str, *_: Any) -> None:
        raise LookupError(name)

    monkeypatch.setattr(nltk, "download", download)
    monkeypatch.setattr(nltk.data, "find", find)
    return wanted


def first(data: str, count: int, keep: Callable[[Any], bool] = lambda _: True) -> SuiteDocuments:
    documents = load_documents(load_suite("ifeval"), data, search=None, report=1, seed=0)
    kept = tuple(d for d in documents.search if keep(d.row))[:count]
    return replace(documents, search=kept)


def needs_punkt(row: Any) -> bool:
    return not NEED_PUNKT.isdisjoint(row["instruction_id_list"])


def test_mini_ifeval_downloads_nothing_and_says_nothing(
    without_punkt: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert Judge(first("mini", 8), "search").prompts
    assert without_punkt == []
    assert capfd.readouterr() == ("", "")


def test_real_documents_that_count_sentences_are_refused_without_punkt(
    without_punkt: list[str], shared: Path
) -> None:
    documents = first(str(shared / "data"), 5, needs_punkt)
    with pytest.raises(UserError, match=r"5 of 5 documents .* punkt_tab.*NLTK_DATA"):
        Judge(documents, "search")
    assert without_punkt == ["punkt_tab"]  # where there is a network, it is fetched


def test_real_documents_that_count_none_need_no_punkt(
    without_punkt: list[str], shared: Path
) -> None:
    documents = first(str(shared / "data"), 5, lambda row: not needs_punkt(row))
    assert len(Judge(documents, "search").prompts) == 5


def test_the_checks_that_need_punkt_are_those_that_open_it(
    monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(shared / "data" / "nltk_data")])
    Judge(first("mini", 1), "search")
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    def refuse(*_: Any, **__: Any) -> None:
        raise LookupError

    monkeypatch.setattr(nltk.data, "load", refuse)
    monkeypatch.setattr(nltk, "word_tokenize", refuse)
    raised = set()
    rows = [d.row for d in first(str(shared / "data"), 300).search]
    for row in rows:
        for name, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            check = INSTRUCTION_DICT[name](name)
            check.build_description(**{k: v for k, v in arguments.items() if v is not None})
            try:
                check.check_following("Some words. More of them, in English.")
            except LookupError:
                raised.add(name)
    assert raised == NEED_PUNKT


def test_the_same_answer_is_always_of_the_same_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)  # and no network is asked
    Judge(first("mini", 1), "search")
    import langdetect

    text = "in die do la no"  # of many languages a little
    assert len({langdetect.detect(text) for _ in range(20)}) == 1
