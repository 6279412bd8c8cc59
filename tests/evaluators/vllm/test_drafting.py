"""Drafts in a worker: whose they are, and when they are not made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from exme.evaluators.vllm.pace import CALIBRATION, REST, WINDOW, Pace
from exme.evaluators.vllm.proposer import Proposer, prompt_key

PROMPTS = ([5, 6, 7, 8], [9, 6, 7])
ANSWERS = (list(range(100, 140)), list(range(200, 240)))


class Decoding:
    """What vLLM does: rows of tokens, of which each takes what is right of its draft and one more."""

    def __init__(self, proposer: Proposer, prompts: Any, answers: Any) -> None:
        self.proposer = proposer
        self.rows = [[*prompt] for prompt in prompts]
        self.left = [list(answer) for answer in answers]
        self.drafts: list[list[int]] = [[] for _ in prompts]
        self.steps = 0

    def step(self) -> None:
        sampled = []
        for row, left, draft in zip(self.rows, self.left, self.drafts, strict=True):
            right = next((i for i, t in enumerate(draft) if left[i : i + 1] != [t]), len(draft))
            grown = left[: right + 1]
            del left[: right + 1]
            row += grown
            sampled.append(grown)
        tokens = np.zeros((len(self.rows), 128), dtype=np.int32)
        for i, row in enumerate(self.rows):
            tokens[i, : len(row)] = row
        lengths = np.array([len(row) for row in self.rows])
        self.drafts = self.proposer.propose(sampled, lengths, tokens, slot_mappings=None)
        self.steps += 1

    def swap(self) -> None:
        """Rows change places, as they do when another has ended."""
        for values in (self.rows, self.left, self.drafts):
            values.reverse()


def proposer(longest: int = 128) -> Proposer:
    config = SimpleNamespace(
        speculative_config=SimpleNamespace(num_speculative_tokens=8),
        model_config=SimpleNamespace(max_model_len=longest),
    )
    found = Proposer(config)
    found.take([(len(p), prompt_key(p), [a]) for p, a in zip(PROMPTS, ANSWERS, strict=True)], True)
    return found


def test_every_row_is_drafted_from_the_earlier_answer_to_its_prompt() -> None:
    decoding = Decoding(proposer(), PROMPTS, ANSWERS)
    while all(decoding.left):
        decoding.step()
        decoding.swap()
    assert [sorted(row) for row in sorted(decoding.rows)] == sorted(
        sorted([*p, *a]) for p, a in zip(PROMPTS, ANSWERS, strict=True)
    )
    assert decoding.steps < 40 / 3  # 40 without drafts; some are for calibration


def test_another_answer_than_the_earlier_one_is_decoded_all_the_same() -> None:
    other = (ANSWERS[1], ANSWERS[0])
    decoding = Decoding(proposer(), PROMPTS, other)
    while all(decoding.left):
        decoding.step()
    assert decoding.rows == [[*p, *a] for p, a in zip(PROMPTS, other, strict=True)]


def test_a_draft_ends_where_the_context_does() -> None:
    decoding = Decoding(proposer(longest=30), PROMPTS[:1], ANSWERS[:1])
    while len(decoding.rows[0]) < 28:
        decoding.step()
        assert len(decoding.rows[0]) + len(decoding.drafts[0]) < 30


def test_a_prompt_that_is_not_known_is_drafted_from_nothing() -> None:
    decoding = Decoding(proposer(), [[1, 2, 3]], [list(range(300, 330))])
    for _ in range(20):
        decoding.step()
    assert decoding.drafts == [[]]


def run(pace: Pace, steps: int, *, token: float, chance: float) -> float:
    """Seconds for each token that two rows gain, where a step takes 1 s and each of its tokens `token` more."""
    seconds = gained = 0.0
    for _ in range(steps):
        drafted = 2 * 4 if pace.drafts else 0
        grown = 2 * (1 + (4 * chance if pace.drafts else 0))
        time = 1 + token * (2 + drafted)
        pace.step(2 + drafted, 2, int(grown), time, 0.01 if drafted else 0.0)
        seconds += time
        gained += grown
    return seconds / gained


def test_drafts_that_pay_are_made_and_those_that_do_not_are_left_after_a_while() -> None:
    paying, losing = Pace(), Pace()
    made = [paying.drafts]
    assert run(paying, 400, token=0.01, chance=0.75) < 0.5 * (1 + 0.02) / 2
    made.append(paying.drafts)
    assert made == [False, True]
    plain = (1 + 0.02 * 2) / 2
    assert run(losing, 4000, token=0.2, chance=0.0) < 1.05 * (1 + 0.2 * 2) / 2 > plain


def test_a_token_that_costs_much_has_to_be_likely() -> None:
    dear, cheap = Pace(), Pace()
    run(dear, CALIBRATION + WINDOW, token=0.2, chance=0.75)
    run(cheap, CALIBRATION + WINDOW, token=0.001, chance=0.75)
    assert dear.worth > 0.2 > cheap.worth
    assert REST > WINDOW


def test_nothing_is_drafted_where_answers_are_drawn_at_random() -> None:
    found = proposer()
    found.take([(len(p), prompt_key(p), [a]) for p, a in zip(PROMPTS, ANSWERS, strict=True)], False)
    decoding = Decoding(found, PROMPTS, ANSWERS)
    while all(decoding.left):
        decoding.step()
        assert not any(decoding.drafts)
