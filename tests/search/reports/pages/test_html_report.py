"""The report as a page: whole in itself, and safe whatever models and names say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exme.search.proof.examples import examples_of
from exme.search.reports.pages.report import write_report
from exme.search.running.search import open_search
from exme.search.scoring.answers import load_answers, save_answers
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.two_suites import study_file
from tests.helpers.services.chromium import chromium, measured

NASTY = '<script>alert("x")</script> & | `'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    study = study_file(suites=["gsm8k"], racing="off")  # every trial is complete: eight dots
    with open_search(
        study, name="test", runs=folder, worker=lambda d: Landscape(d, PEAK)
    ) as search:
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
    assert page.count("data:image/png;base64,") == 1  # the interpolated surface
    assert len(page) < 250_000


def test_what_models_say_is_shown_and_never_run(page: str) -> None:
    assert "&lt;script&gt;alert(" in page


def test_the_verdict_stands_first(page: str) -> None:
    body = page.split("<body>")[1]
    assert re.match(r"\s*<h1>test: gsm8k</h1>\s*<p class=\"verdict\">\w+", body)
    assert re.search(r"<b>\S+ points</b>\s*<span>gain over \w+, the best input</span>", body)


@pytest.mark.parametrize(
    "heading",
    [
        "Best score so far",
        "Importance of the coefficients",
        "Answers, side by side",
        "Scores",
        "Score over the coefficients",
        "Trials",
        "Cost",
        "To repeat it",
    ],
)
def test_the_page_has_its_sections(page: str, heading: str) -> None:
    assert f"<h2>{heading}</h2>" in page


def test_bars_lie_within_the_drawing(page: str) -> None:
    bars = re.findall(r'class="fill[^"]*" style="left:([\d.]+)%;width:([\d.]+)%"', page)
    assert len(bars) == 4  # merged, base, sums, products
    ends = [float(start) + float(width) for start, width in bars]
    assert all(0 <= end <= 100 for end in ends)
    assert max(ends) == ends[0]  # merged is the best here


def test_every_trial_is_a_dot_that_says_what_it_is(page: str) -> None:
    chart = page[page.index("<h2>Best score so far</h2>") :]
    dots = re.findall(r'class="curve-dot".*?<title>trial (\d+), [^<]+; sums [^<]+</title>', chart)
    assert [int(number) for number in dots] == sorted(map(int, dots))
    assert len(dots) == 8


_LOOK = """
const wide = document.documentElement.clientWidth;
const out = [...document.body.querySelectorAll('*')].filter(e => !e.closest('.scroll, svg, summary'))
  .filter(e => e.getBoundingClientRect().right > wide + 1).map(e => e.outerHTML.slice(0, 80));
const texts = [...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect());
const frames = [...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect());
const cut = texts.filter(t => !frames.some(
  f => t.left >= f.left - 1 && t.right <= f.right + 1 && t.top >= f.top - 1 && t.bottom <= f.bottom + 1));
const seen = e => window.getComputedStyle(e);
return {
  out, cut: cut.length, scroll: document.documentElement.scrollWidth - wide,
  smallest: Math.min(...texts.map(t => t.height).filter(h => h > 0)),
  ground: seen(document.body).backgroundColor, ink: seen(document.body).color,
  images: [...document.querySelectorAll('image')].length,
};
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chromium_shows_it_whole_on_a_phone_and_on_a_desk(
    page: str, tmp_path: Path, scheme: str
) -> None:
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    for found in measured(tmp_path, page, (360, 1200), _LOOK, *dark):
        assert found["out"] == [] and found["scroll"] <= 0
        assert found["cut"] == 0  # no label leaves its drawing
        assert found["smallest"] >= 9  # pixels: still read
        assert found["images"] == 1
        ground, ink = (
            sum(map(int, re.findall(r"\d+", found[name])[:3])) for name in ("ground", "ink")
        )
        assert (ground < ink) == (scheme == "dark") and abs(ground - ink) > 500


def test_chromium_prints_it(page: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page)
    out = tmp_path / "report.pdf"
    chromium(tmp_path, (tmp_path / "report.html").as_uri(), f"--print-to-pdf={out}")
    assert out.read_bytes().startswith(b"%PDF") and out.stat().st_size > 20_000
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", out.read_bytes())) <= 4


def test_a_report_without_answers_has_no_examples(tmp_path: Path) -> None:
    with open_search(
        study_file(suites=["gsm8k"]),
        name="test",
        runs=tmp_path,
        worker=lambda d: Landscape(d, PEAK),
    ) as search:
        outcome = search.run()
        digest = outcome.inputs[0].candidate.digest
        for broken in (
            b"{broken",
            b"",
            b"\xff\xfe",
            b"[]",
            b"null",
            b"\x00",
            b'{"gsm8k": [1, 2',
            b"[" * 9999,
        ):
            (search.folder / "answers" / f"{digest}.json").write_bytes(broken)
            assert load_answers(search.folder, digest) == {}
        assert examples_of(outcome, search.documents, search.folder) == []
        write_report(outcome, search.folder)
        assert "side by side" not in (search.folder / "report.html").read_text()
