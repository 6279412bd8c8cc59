"""Stop strings: found across token borders, and only when nothing later can move the cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, strategies as st

from exme.evaluators.fast.decoding.stops import StopStrings


class Letters:
    """A tokeniser whose tokens are pieces of text."""

    def __init__(self, pieces: Sequence[str], *, cleans: bool = False) -> None:
        self.pieces = pieces
        self.clean_up_tokenization_spaces = cleans

    def decode(self, tokens: Sequence[int], skip_special_tokens: bool = False) -> str:
        text = "".join(self.pieces[token] for token in tokens)
        return text.replace(" .", ".") if self.clean_up_tokenization_spaces else text


def cut(text: str, until: Sequence[str]) -> str:
    """lm-eval's way: by one after the other."""
    for term in until:
        text = text.split(term, maxsplit=1)[0]
    return text


def run(tokenizer: Any, until: Sequence[str], tokens: Sequence[int], chunk: int) -> int:
    """Feed tokens in chunks; how many are kept when it stops, 0 if it never does."""
    stops = StopStrings(tokenizer, until)
    seen, doubtful = 0, False
    while seen < len(tokens):
        ahead = min(len(tokens), seen + chunk)
        end, doubtful = stops.first_end(tokens[:ahead], seen, doubtful)
        if end:
            return end
        seen = ahead
    return 0


PIECES = ["a", "b", "ab", "ba", " ", "\n", "a\n", "bb", "c", " ."]


@given(
    tokens=st.lists(st.integers(0, len(PIECES) - 1), max_size=20),
    until=st.lists(st.text("abc \n", min_size=1, max_size=4), min_size=1, max_size=3),
    chunk=st.integers(1, 7),
    cleans=st.booleans(),
)
def test_what_is_kept_is_cut_like_everything(
    tokens: list[int], until: list[str], chunk: int, cleans: bool
) -> None:
    tokenizer = Letters(PIECES, cleans=cleans)
    everything = cut(tokenizer.decode(tokens), until)
    end = run(tokenizer, until, tokens, chunk)
    if end:
        assert cut(tokenizer.decode(tokens[:end]), until) == everything


def test_a_stop_string_across_tokens_ends_the_row_at_its_last_token() -> None:
    tokenizer = Letters(["x", "Ques", "tion", ":", "y"])
    assert run(tokenizer, ["Question:"], [0, 1, 2, 3, 4, 4], 1) == 4
    assert run(tokenizer, ["Question:"], [0, 1, 2, 3, 4, 4], 6) == 4
    assert run(tokenizer, ["Question:"], [0, 1, 2, 4], 2) == 0


def test_blank_stop_strings_are_found() -> None:
    tokenizer = Letters(["x", "\n"])
    assert run(tokenizer, ["\n\n"], [0, 1, 0, 1, 1, 0], 2) == 5


def test_a_longer_string_that_could_cut_first_is_waited_for() -> None:
    tokenizer = Letters(["x", "ab", "c", "d"])
    # "ab" stands there, but "bc", which cuts first, may still come.
    assert run(tokenizer, ["bc", "ab"], [0, 1, 2, 3], 1) == 3
    assert run(tokenizer, ["bc", "ab"], [0, 1, 3, 3], 1) == 3
