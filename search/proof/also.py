"""What else changed: the winner beside the best input on suites that were not searched on, which a study names in `also`.

They are scored after the proof, on report documents only. Nothing is proved there. It is written down as a use of these documents
all the same, because a choice may be made by what is seen here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from exme.evaluators import DocumentScores
from exme.search.merging import Candidate
from exme.search.storage import StoredStudy
from exme.tasks import SuiteDocuments

from .finals import best_input
from .gain import Gain, gain_on_suite, share_of_error
from .uses import claim_comparison, use_of_comparison

if TYPE_CHECKING:
    from .outcome import Outcome


@dataclass(frozen=True)
class Also:
    """The winner and the best input on the report documents of one suite that was not searched on.

    Attributes:
        merged: scores of the winner; `other` of the best input, whose name is `over`.
        use: which use of these documents it is.
        suites: how many such suites there are; their intervals share the level of a use.
    """

    merged: DocumentScores
    other: DocumentScores
    over: str
    use: int
    suites: int

    @cached_property
    def gain(self) -> Gain:
        """Of the winner over the best input."""
        level = share_of_error(self.use) / self.suites
        return gain_on_suite(self.merged, [(self.over, self.other)], 0, level)


def key_of_suite(documents: SuiteDocuments) -> str:
    """What decides a model's scores on a suite: its definition and its documents."""
    text = documents.suite.model_dump_json() + documents.fingerprint
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def owed_also(
    outcome: Outcome, storage: StoredStudy, documents: Sequence[SuiteDocuments]
) -> list[tuple[SuiteDocuments, list[tuple[str, Candidate]]]]:
    """The suites on which the winner or the best input is still to be scored, each with the candidates and their names.

    Args:
        outcome: with its proof; of a winner that is an input itself nothing is owed.
        storage: of the study.
        documents: of the suites that `also` names and that are not searched on.
    """
    if outcome.merged is None or not outcome.verdict.is_final:
        return []
    found = []
    for each in documents:
        known = storage.record.also(key_of_suite(each))
        pair = [(entry.name, entry.candidate) for entry in (outcome.merged, best_input(outcome))]
        if missing := [(n, c) for n, c in pair if c.digest not in known]:
            found.append((each, missing))
    return found


def name_also(storage: StoredStudy, documents: Sequence[SuiteDocuments]) -> None:
    """Write down which suites `also` names, for those who only read the study.

    Args:
        storage: of the study.
        documents: of these suites, without those that are searched on.
    """
    storage.record.name_also(
        {each.suite.suite: key_of_suite(each) for each in documents},
        {each.suite.suite: tuple(d.id for d in each.report) for each in documents},
    )


def claim_also(
    outcome: Outcome, storage: StoredStudy, documents: Sequence[SuiteDocuments], runs: Path
) -> None:
    """Write down that report documents of the suites of `also` are used; nothing where nothing is to be scored there.

    Args:
        outcome: with its proof.
        storage: of the study.
        documents: of these suites.
        runs: the folder of runs, where uses are counted.
    """
    if outcome.merged is None or not outcome.verdict.is_final:
        return
    for each in documents:
        claim_comparison(_tested(outcome, key_of_suite(each)), [each], runs, storage)


def also_of(outcome: Outcome, storage: StoredStudy, runs: Path) -> tuple[Also, ...]:
    """What else changed, as far as the storage holds it, suite by suite.

    Args:
        outcome: with its proof.
        storage: of the study.
        runs: the folder of runs.
    """
    named = storage.record.named_also()
    if not named or outcome.merged is None or not outcome.verdict.is_final:
        return ()
    other = best_input(outcome)
    found = []
    for key in named.values():
        known = storage.record.also(key)
        pair = [known.get(e.candidate.digest) for e in (outcome.merged, other)]
        if pair[0] is not None and pair[1] is not None:
            use = use_of_comparison(_tested(outcome, key), runs, storage)
            found.append(Also(pair[0], pair[1], other.name, use, len(named)))
    return tuple(found)


def _tested(outcome: Outcome, key: str) -> list[str]:
    """What is compared on a suite: the winner and the best input."""
    assert outcome.merged is not None
    return [key, outcome.merged.candidate.digest, best_input(outcome).candidate.digest]
