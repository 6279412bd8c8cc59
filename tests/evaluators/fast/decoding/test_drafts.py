"""Drafts: what earlier answers and texts say comes next."""

from __future__ import annotations

from exme.evaluators.fast.decoding.drafts import Drafter, Trust
from exme.evaluators.fast.decoding.ngrams import Ngrams

A = list(range(10, 40))


def drafter(*answers: list[int], ngrams: Ngrams | None = None) -> Drafter:
    return Drafter(answers, ngrams or Ngrams(), Trust())


def test_an_earlier_answer_is_the_draft() -> None:
    assert drafter(A).propose(100, 0.0) == A
    assert drafter(A).propose(5, 0.0) == A[:5]
    assert drafter().propose(5, 0.0) == []


def test_the_draft_goes_on_after_what_is_decoded() -> None:
    d = drafter(A)
    d.observe(A[:4], 0)
    assert d.propose(100, 0.0) == A[4:]


def test_a_substituted_token_is_stepped_over() -> None:
    d = drafter(A)
    d.observe([*A[:4], 99], 0)
    assert d.propose(3, 0.0) == A[5:8]


def test_after_inserted_tokens_the_answer_is_found_again_by_two_tokens() -> None:
    d = drafter(A)
    d.observe([*A[:4], 90, 91, 92, A[4], A[5]], 0)
    assert d.propose(3, 0.0) == A[6:9]


def test_most_of_several_answers_decide_and_the_consistent_one_goes_on() -> None:
    one, two = [1, 2, 3, 4], [1, 2, 5, 6]
    d = drafter(one, two, [1, 2, 5, 7])
    assert d.propose(3, 0.0) == [1, 2, 5]
    d.observe([1, 2, 3], 0)
    assert d.propose(1, 0.0) == [4]


def test_drafts_get_shorter_where_they_prove_wrong() -> None:
    trust = Trust()
    before = len(Drafter([A], Ngrams(), trust).propose(100, 0.3))
    for _ in range(30):
        d = Drafter([A], Ngrams(), trust)
        d.propose(100, 0.3)
        d.observe([99], 0)
    assert len(Drafter([A], Ngrams(), trust).propose(100, 0.3)) < before


def test_texts_of_the_study_draft_what_no_answer_tells() -> None:
    ngrams = Ngrams()
    ngrams.learn([1, 2, 3, 4, 5, 6])
    d = drafter(ngrams=ngrams)
    assert d.propose(5, 0.0) == []
    d.observe([1, 2, 3], 0)
    assert d.propose(5, 0.0) == [4, 5, 6]


def test_the_most_frequent_continuation_is_drafted_and_memory_is_bounded() -> None:
    ngrams = Ngrams(most=2)
    ngrams.learn([1, 2, 3, 4])
    ngrams.learn([1, 2, 3, 5])
    ngrams.learn([1, 2, 3, 5])
    assert ngrams.next([1, 2, 3])[0] == 5
    ngrams.learn(range(100, 200))
    assert ngrams.next([150, 151, 152])[0] is None
    assert ngrams.next([1, 2, 3])[0] == 5


def test_an_answer_that_repeats_itself_is_its_own_draft() -> None:
    d = drafter()
    d.observe([5, 6, 7, 8, 5, 6, 7], 0)
    assert d.propose(6, 0.0) == [8, 5, 6, 7, 8, 5]
    d.observe([9, 5, 6, 7], 0)  # the last continuation is the one to expect
    assert d.propose(1, 0.0) == [9]
