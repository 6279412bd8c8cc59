"""When a row is done, as lm-eval means it: its answer is cut at the first stop string.

Stop strings cross token borders, so a text is what decides, not tokens. Decoding the text after
every token would cost more than a small model's work; a cheap necessary sign is looked for first.
What lies after a stop string never matters (`Reference.finish` cuts it off), so a late stop costs
time but cannot change an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

# What `clean_up_tokenization_spaces` takes a space out of, when text goes on like that.
_CLEANED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class StopStrings:
    """Tells whether generated tokens hold a stop string that later tokens cannot change.

    Args:
        until: stop strings, in lm-eval's order.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, until: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._until = [term for term in until if term]
        self._squeezed = {_squeeze(term) for term in self._until}
        self._tail = 2 * max((len(term) for term in self._until), default=0) + 8
        self._ends = {term[-1] for term in self._squeezed if term}
        self._blank = "" in self._squeezed  # a stop string of spaces only
        self._piece = lru_cache(maxsize=None)(self._decode_one)

    def first_end(self, tokens: Sequence[int], seen: int, doubtful: bool) -> tuple[int, bool]:
        """How many of the tokens are needed to be done, if they are.

        Args:
            tokens: all tokens generated so far.
            seen: how many of them were looked at before.
            doubtful: what the last look returned.

        Returns:
            Tokens to keep, 0 where the row goes on; and whether a stop string was found that
            the next token may still change, so that it must be looked at again.
        """
        for end in range(seen + 1, len(tokens) + 1):
            if doubtful or self._may_end(tokens, end):
                found, doubtful = self._look(tokens[:end])
                if found:
                    return end, False
        return 0, doubtful

    def _decode_one(self, token: int) -> str:
        return str(self._tokenizer.decode([token]))

    def _may_end(self, tokens: Sequence[int], end: int) -> bool:
        """Whether a stop string may have become complete with the token before `end`."""
        piece = self._piece(tokens[end - 1])
        if "\ufffd" in piece or not piece or (self._blank and piece.endswith(" ")):
            return True
        if self._ends.isdisjoint(piece):
            return False
        tail, at = "", end
        while at > 0 and len(tail) < self._tail:
            at -= 1
            tail = _squeeze(self._piece(tokens[at])) + tail
        return any(term in tail for term in self._squeezed if term)

    def _look(self, tokens: Sequence[int]) -> tuple[bool, bool]:
        """Whether the text holds a stop string for good, and whether it holds one in doubt."""
        text = str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))
        found = [(text.find(term), term) for term in self._until if term in text]
        if not found:
            return False, False
        at, term = min(found)
        cleaned = getattr(self._tokenizer, "clean_up_tokenization_spaces", False) and any(
            text.endswith(clean[:size]) for clean in _CLEANED for size in range(1, len(clean))
        )
        # lm-eval cuts by one string after the other: one that is not yet complete, but overlaps
        # the one that was found, could cut first.
        overlapped = any(
            text.endswith(other[:size])
            for other in self._until
            if other != term
            for size in range(max(1, len(text) - at - len(term) + 1), len(other))
        )
        doubtful = cleaned or overlapped or text.endswith("\ufffd")
        return not doubtful, doubtful


def _squeeze(text: str) -> str:
    """Without spaces: a token by itself may lose the one it begins with, and cleaning takes others."""
    return text.replace(" ", "")
