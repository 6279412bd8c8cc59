"""Suites that cannot tell candidates apart, or cut their answers, which is to be known before hours are spent on them.

Where all inputs solve none of a suite's documents, or all of them, or no more than guessing would, so will most merges of
theirs; half of a search over two such suites is spent on nothing. Where answers are cut at the limit on their length, a merge gains by
being brief.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scipy import special

from exme.evaluators import DocumentScores
from exme.search.statistics import is_binary
from exme.search.storage import StudyRecord
from exme.search.trials import TrialRecord, scores_seen
from exme.tasks import SuiteDocuments

from .screen import Screen

# Inputs are above chance where guessing would solve as many documents with a lower probability than this. So many documents
# of all inputs together are asked before it is said that they are not: 40% are then told from 25% in 94 of 100 cases.
_LEVEL = 0.05
_ENOUGH = 100
# So many answers of all candidates together are asked before it is said that none is right, or all are: where one in
# twenty is, 64 in a row are wrong by chance in 4 of 100 cases.
_SURE = 64
_ENDING = "this suite cannot tell candidates apart"
# What to do, by why that is so.
_REMEDIES = {
    "0": "see what models answer with `exme verify`: a chat template (`chat:`), a longer limit (`max_gen_toks`) or leave it out",
    "all": "take a harder suite, or leave it out",
    "chance": "leave it out, or give it weight 0 to watch it only",
}
# Answers of an input that are cut, at least so many and such a share, are told.
_CUT, _CUT_SHARE = 2, 0.1
_CUT_WORDS = "answers reach the limit on their length"
# Metrics of tasks that choose among answers; chance is one of as many as a document has.
_CHOOSING = ("acc", "acc_norm")
_CHOICES = "choices"


class BlindSuites:
    """Tells people of such suites, once a study.

    Args:
        documents: of each suite.
        inputs: origins of the trials that are inputs, e.g. ``sums alone``.
        record: of the study, which remembers what was said.
        screen: where lines go.
    """

    def __init__(
        self,
        documents: Sequence[SuiteDocuments],
        inputs: Sequence[str],
        record: StudyRecord,
        screen: Screen,
    ) -> None:
        self._documents, self._inputs = documents, inputs
        self._record, self._screen = record, screen
        self._is_done = False

    def tell(self, trials: Sequence[TrialRecord]) -> None:
        """Say what can be said as soon as every input has had its first documents."""
        if self._is_done:
            return
        known = known_inputs(trials, self._inputs)
        if len(known) < len(set(self._inputs)):
            return
        asked = sum(t.count for t in map(scores_seen, known))
        self._is_done = asked >= _ENOUGH * len(self._documents) or all(t.scores for t in known)
        said = self._record.notes()
        for suite, line in blind_suites(known, trials, self._documents):
            # (other workers, and a search that goes on, may know of more documents by then)
            if any(note.startswith(f"{suite}: ") and is_of_blind(note) for note in said):
                continue
            if self._record.add_note(line):
                self._screen.say(line, "yellow")
        for suite, line in cut_suites(known, self._documents):
            if any(note.startswith(f"{suite}: {_CUT_WORDS}") for note in said):
                continue
            if self._record.add_note(line):
                self._screen.say(line, "yellow")


def is_of_blind(note: str) -> bool:
    """Whether a note of a study tells of such a suite."""
    return _ENDING in note


def known_inputs(trials: Sequence[TrialRecord], inputs: Sequence[str]) -> list[TrialRecord]:
    """The last trial of each input that was scored, in part at least."""
    mine = {t.candidate.digest for t in trials if t.origin in inputs and t.candidate is not None}
    last = {
        t.candidate.digest: t
        for t in trials
        if t.candidate is not None and t.candidate.digest in mine and t.is_scored
    }
    return list(last.values())


def blind_suites(
    inputs: Sequence[TrialRecord],
    trials: Sequence[TrialRecord],
    documents: Sequence[SuiteDocuments],
) -> Iterator[tuple[str, str]]:
    """Suites on which all inputs score alike for a reason that merges share, and a sentence about each.

    Args:
        inputs: the trials of all inputs, scored in part at least.
        trials: all of the study's.
        documents: of each suite.
    """
    for each in documents:
        name = each.suite.suite
        parts, others = _of_suite(inputs, name), _of_suite(_last(trials), name)
        kind, why = (
            _why_blind(parts, others, chance(each)) if len(parts) == len(inputs) else ("", "")
        )
        if why:
            yield name, f"{name}: {why}: {_ENDING}; {_REMEDIES[kind]}"


def cut_suites(
    inputs: Sequence[TrialRecord], documents: Sequence[SuiteDocuments]
) -> Iterator[tuple[str, str]]:
    """Suites whose answers are cut at the limit on their length, and a sentence with each input's share.

    Args:
        inputs: the trials of all inputs, scored in part at least.
        documents: of each suite.
    """
    for each in documents:
        name, told, many = each.suite.suite, [], False
        for trial in inputs:
            for part in _of_suite([trial], name):
                cut = [value for value in part.audit.get("cut", ()) if not math.isnan(value)]
                many |= sum(cut) >= _CUT and sum(cut) >= _CUT_SHARE * len(cut)
                told += [f"{trial.origin} {sum(cut):.0f} of {len(cut)}"] if cut else []
        if many:
            limit = each.suite.max_gen_toks
            now = f" (now {limit} tokens)" if limit else ""
            yield (
                name,
                (
                    f"{name}: {_CUT_WORDS}{now}: {', '.join(told)}; raise `max_gen_toks` in the study, or put models of "
                    f"conversations their template (`chat:`), else a merge gains by being brief"
                ),
            )


def _of_suite(trials: Sequence[TrialRecord], suite: str) -> list[DocumentScores]:
    return [part for t in trials for part in scores_seen(t).parts if part.suite == suite]


def _last(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The last trial of each candidate that was scored, in part at least."""
    return list({t.candidate.digest: t for t in trials if t.candidate and t.is_scored}.values())


def _why_blind(
    parts: Sequence[DocumentScores], everyone: Sequence[DocumentScores], guessing: float | None
) -> tuple[str, str]:
    """Why scores on a suite say nothing, in a word and in more; both empty where they may say something.

    Args:
        parts: scores of the inputs; `everyone` those of all candidates, inputs among them.
        everyone: see `parts`.
        guessing: share that guessing would solve; None where that is not known.
    """
    least, most = min(p.count for p in parts), max(p.count for p in parts)
    count = str(least) if least == most else f"{least} to {most}"
    values = [value for p in everyone for value in p.values]
    # (0 is the best score of a metric without a bound that is better when lower)
    for what, score in (("0", 0), ("all", 1)):
        if len(values) >= _SURE and parts[0].scale.top != 0 and set(values) == {score}:
            told = f"{len(everyone)} candidates, the inputs among them, solve {what} of {len(values)} documents"
            return what, told
    if not is_binary([value for p in parts for value in p.values]):
        return "", ""
    solved, asked = sum(sum(p.values) for p in parts), sum(p.count for p in parts)
    if guessing is None or asked < _ENOUGH:
        return "", ""
    # P(X >= solved) of X ~ B(asked, guessing), as if inputs guessed apart
    if float(special.betainc(solved, asked - solved + 1, guessing)) < _LEVEL:
        return "", ""
    return (
        "chance",
        f"no input solves more than guessing would ({guessing:.0%}) of {count} documents",
    )


def chance(documents: SuiteDocuments) -> float | None:
    """Share of documents that guessing solves; None where that is not known.

    It is known of suites that are scored by the share of right choices, where every document has a column of choices and all
    have as many.
    """
    if documents.suite.metric not in _CHOOSING:
        return None
    counts = {
        len(found) if isinstance(found := d.row.get(_CHOICES), list | tuple) else 0
        for d in documents.search
    }
    (count, *others) = counts or {0}
    return 1 / count if count > 1 and not others else None
