"""Whether a gain is one of format."""

from __future__ import annotations

from exme.evaluators.scores import DocumentScores
from exme.search.audit import audit
from exme.search.candidate import Candidate
from exme.search.outcome import Entry

IDS = tuple("abcdefgh")


def entry(name: str, values: str, cut: str, longer: str = "") -> Entry:
    def scores(text: str, odd: str) -> DocumentScores:
        numbers = tuple(float(v) for v in text)
        outcomes = {"cut": tuple(float(v) for v in odd)}
        return DocumentScores("gsm8k", "report", "acc", IDS, numbers, 0, outcomes)

    candidate = Candidate({"sums": 1.0}, "exme", "float32", {})
    more = scores(longer, "00000000") if longer else None
    return Entry(name, candidate, scores(values, cut), longer=more)


def test_a_gain_that_comes_with_fewer_cut_answers_is_flagged() -> None:
    found = audit(entry("merged", "11110000", "00000001"), entry("sums", "11000000", "00110001"))
    assert found.is_flagged
    assert found.fewer == (("cut", 1, 3),)
    assert found.gain == 0.25
    assert (found.spared, found.documents) == (0, 5)  # all of it on documents that were cut


def test_a_gain_with_as_many_cut_answers_is_not() -> None:
    found = audit(entry("merged", "11110000", "00000001"), entry("sums", "11000000", "00000001"))
    assert not found.is_flagged
    assert found.spared == 2 / 7


def test_a_gain_that_goes_when_answers_may_be_longer_is_flagged() -> None:
    merged = entry("merged", "11110000", "00000001", longer="11110000")
    best = entry("sums", "11000000", "00000001", longer="11111000")
    found = audit(merged, best)
    assert found.is_flagged and not found.fewer
    assert found.longer == -0.125


def test_a_loss_is_nothing_to_flag() -> None:
    found = audit(entry("merged", "10000000", "00000000"), entry("sums", "11000000", "00110000"))
    assert not found.is_flagged
