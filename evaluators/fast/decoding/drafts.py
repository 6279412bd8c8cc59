"""Drafts of a row's answer: what earlier candidates answered to the same document.

The answer decoded so far is followed through every stored answer. Where it departs from one, a
substitution is assumed first, then the place where the last two tokens stand again is looked for
(suffix match). How far a draft goes is decided by how often drafts of its kind were right.

Source: Saxena, Prompt lookup decoding, 2023; He et al., REST, arXiv:2311.08252; both draft by
matching suffixes in text that exists already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .ngrams import ORDER, Ngrams

Kind = tuple[str, int, int]
_WHOLE = 1 << 20  # length of the match of an answer that agrees from its beginning
_NEAR = 12  # how far from the expected place an answer may resume


class Trust:
    """How often drafted tokens were right, by the kind of evidence for them."""

    def __init__(self) -> None:
        self._right: dict[Kind, float] = {}
        self._tried: dict[Kind, float] = {}
        self._chance: dict[Kind, float] = {}  # asked far more often than learned

    def of(self, kind: Kind) -> float:
        """Chance that a token of this kind is right; 0.7 of four tokens to begin with."""
        return self._chance.get(kind, 0.7)

    def learn(self, kinds: Sequence[Kind], accepted: int) -> None:
        """Count a draft: `accepted` tokens were right, and the one after them was not."""
        for i, kind in enumerate(kinds[: accepted + 1]):
            self._tried[kind] = self._tried.get(kind, 0.0) + 1
            self._right[kind] = self._right.get(kind, 0.0) + (i < accepted)
            self._chance[kind] = (self._right[kind] + 2.8) / (self._tried[kind] + 4.0)


@dataclass
class _Thread:
    """One stored answer, followed.

    Attributes:
        tokens: the answer.
        at: place of the token that is expected next.
        run: how many tokens agreed before it without a break.
        pairs: places after every two tokens; made when the answer is first departed from.
    """

    tokens: tuple[int, ...]
    at: int = 0
    run: int = _WHOLE
    pairs: dict[tuple[int, int], list[int]] | None = None

    def follow(self, last: int, new: tuple[int, ...]) -> None:
        """The row went on with new tokens, after `last`."""
        if self.tokens[self.at : self.at + len(new)] == new:  # most do, and this costs little
            self.at += len(new)
            self.run += len(new)
            return
        for token in new:
            if self.at < len(self.tokens) and self.tokens[self.at] == token:
                self.at += 1
                self.run += 1
            elif (at := self._resume(last, token)) is not None:
                self.at, self.run = at, 2
            else:
                self.at, self.run = self.at + 1, 0
            last = token

    def _resume(self, last: int, token: int) -> int | None:
        """The nearest place after the last two tokens."""
        if self.pairs is None:
            self.pairs = {}
            for i, pair in enumerate(pairwise(self.tokens)):
                self.pairs.setdefault(pair, []).append(i + 2)
        expected = self.at + 1
        near = [
            at
            for at in self.pairs.get((last, token), ())
            if at < len(self.tokens) and -_NEAR <= at - self.at < _NEAR
        ]
        return min(near, key=lambda at: abs(at - expected)) if near else None


class Drafter:
    """Proposes one row's next tokens.

    Args:
        answers: earlier answers to the same document, the most recent first.
        ngrams: continuations seen anywhere in the study.
        trust: shared by all rows.
    """

    def __init__(self, answers: Iterable[Sequence[int]], ngrams: Ngrams, trust: Trust) -> None:
        self._threads = [_Thread(tuple(answer)) for answer in answers]
        self._ngrams = ngrams
        self._trust = trust
        self._kinds: list[Kind] = []
        self._last: tuple[int, ...] = ()
        self._own: dict[tuple[int, ...], tuple[int, int]] = {}

    def propose(self, most: int, worth: float) -> list[int]:
        """Draft while a token's chance to be right is at least `worth`.

        Args:
            worth: least chance at which verifying a token pays.
        """
        draft: list[int] = []
        kinds: list[Kind] = []
        chance = 1.0
        places = [(thread.run, thread.at, thread.tokens) for thread in self._threads]
        last = self._last
        while len(draft) < most:
            token, kind = self._next(places, last)
            if token is None or (chance := chance * self._trust.of(kind)) < worth:
                break
            draft.append(token)
            kinds.append(kind)
            last = (*last[1 - ORDER :], token)
            places = [
                (run + 1, at + 1, tokens)
                for run, at, tokens in places
                if at < len(tokens) and tokens[at] == token
            ]
        self._kinds = kinds
        return draft

    def observe(self, tokens: Sequence[int], accepted: int) -> None:
        """The row went on with these tokens, the first `accepted` of them from the draft."""
        self._trust.learn(self._kinds, accepted)
        last, new = self._last[-1] if self._last else -1, tuple(tokens)
        for thread in self._threads:
            thread.follow(last, new)
        for token in new:
            if len(self._last) == ORDER:
                before, times = self._own.get(self._last, (token, 0))
                self._own[self._last] = token, times + 1 if before == token else 1
            self._last = (*self._last[1 - ORDER :], token)

    def _next(
        self, places: Sequence[tuple[int, int, Sequence[int]]], last: tuple[int, ...]
    ) -> tuple[int | None, Kind]:
        """The likeliest next token, and the kind of evidence for it."""
        live = [(run, tokens[at]) for run, at, tokens in places if at < len(tokens)]
        token: int | None = None
        kind: Kind = ("none", 0, 0)
        if live:
            longest = max(live)[0]
            votes: dict[int, int] = {}
            peers = 0
            for run, candidate in live:
                if run >= min(longest, 4):
                    votes[candidate] = votes.get(candidate, 0) + 1
                    peers += 1
            token = max(votes, key=votes.__getitem__)
            kind = ("answer", _bucket(longest), _agreement(votes[token], peers))
            if self._trust.of(kind) > 0.9:
                return token, kind
        others: list[tuple[int | None, Kind]] = []
        if last in self._own:
            again, times = self._own[last]
            others.append((again, ("own", min(times, 4), 0)))
        guess, share = self._ngrams.next(last)
        others.append((guess, ("ngram", len(last), share)))
        for other, its in others:
            if other is not None and (token is None or self._trust.of(its) > self._trust.of(kind)):
                token, kind = other, its
        return token, kind


def _bucket(run: int) -> int:
    """Length of a match, coarsely."""
    return run if run < 4 else 4 if run < 8 else 5 if run < 16 else 6 if run < _WHOLE else 7


def _agreement(votes: int, peers: int) -> int:
    """How many follow an answer's lead, coarsely: one alone, a half, most, all of several."""
    if votes == peers:
        return 4 + min(peers, 4)
    return int(4 * votes / peers)
