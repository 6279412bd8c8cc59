"""Continuations seen anywhere in a study: drafts for where a document's own answers are silent.

Answers of one suite share their scaffolding ("There are", "<<", "#### "), so the last three
tokens often tell the next; this drafts from the first candidate on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ORDER = 3


class Ngrams:
    """What followed the last three tokens, and how often.

    Args:
        most: contexts that are kept; beyond it nothing new is learned.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._learned: set[int] = set()
        self._counts: dict[tuple[int, ...], dict[int, int]] = {}
        self._best: dict[tuple[int, ...], tuple[int, int, int]] = {}

    def learn_once(self, texts: Iterable[tuple[int, ...]]) -> None:
        """Count the continuations of texts, each text's once: this worker's, another's, an earlier run's."""
        for tokens in texts:
            if (name := hash(tokens)) not in self._learned:
                self._learned.add(name)
                self.learn(tokens)

    def learn(self, tokens: Sequence[int]) -> None:
        """Count the continuations of a text."""
        for i in range(ORDER, len(tokens)):
            key = tuple(tokens[i - ORDER : i])
            counts = self._counts.get(key)
            if counts is None:
                if len(self._counts) >= self._most:
                    continue
                counts = self._counts[key] = {}
            token = tokens[i]
            count = counts[token] = counts.get(token, 0) + 1
            best, top, total = self._best.get(key, (token, 0, 0))
            if count > top:
                best, top = token, count
            self._best[key] = (best, top, total + 1)

    def next(self, last: Sequence[int]) -> tuple[int | None, int]:
        """The likeliest continuation of the last tokens, and how likely, from 0 to 9."""
        if len(last) < ORDER:
            return None, 0
        found = self._best.get(tuple(last[-ORDER:]))
        if found is None:
            return None, 0
        best, top, total = found
        return best, min(9, int(10 * top / (total + 1)))
