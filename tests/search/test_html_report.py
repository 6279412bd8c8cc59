"""The report as a page: whole in itself, and safe whatever models and names say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exme.search.answers import examples, load_answers, save_answers
from exme.search.report import write_report
from exme.search.runner import open_search

from .landscape import Landscape
from .test_objective import PEAK, study_file

NASTY = '<script>alert("x")</script> & | `'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    study = study_file(suites=["gsm8k"])
    with open_search(study, name="test", runs=folder) as search:
        search._worker = Landscape(search.documents, PEAK)
        outcome = search.run()
        for entry in (outcome.merged, *outcome.inputs):
            assert entry is not None
            answers = [f"{NASTY} {entry.name} {i}" for i in range(entry.report.count)]
            save_answers(search.folder, entry.candidate.digest, {"gsm8k": answers})
        shown = search.examples(outcome)
        assert shown and all(e.won for e in shown)  # on this hill none is lost
        assert all(e.merged != e.other and e.question for e in shown)
        write_report(outcome, search.folder, shown)
        return (search.folder / "report.html").read_text()


def test_the_page_needs_nothing_else(page: str) -> None:
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/png;base64,") == 1


def test_what_models_say_is_shown_and_never_run(page: str) -> None:
    assert "&lt;script&gt;alert(" in page


def test_the_verdict_stands_first(page: str) -> None:
    body = page.split("<body>")[1]
    assert re.match(r"\s*<h1>test: gsm8k</h1>\s*<p class=\"verdict\">\w+", body)


@pytest.mark.parametrize(
    "heading",
    [
        "gsm8k on the report documents (exact_match,strict-match)",
        "Best score so far against documents",
        "Importance of the coefficients",
        "Answers, side by side",
        "Scores",
        "Score over the coefficients",
        "Trials",
        "To repeat it",
    ],
)
def test_the_page_has_its_sections(page: str, heading: str) -> None:
    assert f"<h2>{heading}</h2>" in page


def test_bars_lie_within_the_drawing(page: str) -> None:
    widths = [float(w) for w in re.findall(r'x="150" y="[\d.]+" width="([\d.]+)"', page)]
    assert len(widths) == 4  # merged, base, sums, products
    assert all(0 <= width <= 410 for width in widths)
    assert max(widths) == widths[0]  # merged is the best here


def test_a_report_without_answers_has_no_examples(tmp_path: Path) -> None:
    with open_search(study_file(suites=["gsm8k"]), name="test", runs=tmp_path) as search:
        search._worker = Landscape(search.documents, PEAK)
        outcome = search.run()
        digest = outcome.inputs[0].candidate.digest
        (search.folder / "answers" / f"{digest}.json").write_text("{broken")
        assert load_answers(search.folder, digest) == {}
        assert examples(outcome, search.documents, search.folder) == []
        write_report(outcome, search.folder)
        assert "side by side" not in (search.folder / "report.html").read_text()
