"""What the dashboard says of a trial: a note in Markdown, its scores by document, and a picture."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exme.evaluators import DocumentScores, metric_text
from exme.search.merging import Candidate
from exme.search.merging.methods import PLAIN
from exme.search.proof import KINDS, share_text
from exme.search.reports.pages import table
from exme.search.statistics import is_binary
from exme.search.study import read
from exme.search.trials import Standing, TrialRecord, Unit, by_suite, difference

_SHOWN = 2  # differing answers of each kind
_LONGEST = 500  # characters of a question or an answer


@dataclass(frozen=True)
class Difference:
    """A search document that a trial and the incumbent answered with different scores."""

    document: str
    question: str
    answer: str
    other: str
    won: bool


def trial_note(
    trial: TrialRecord,
    standing: Standing | None,
    incumbent: TrialRecord | None,
    best_input: Mapping[str, float],
    differing: Sequence[Difference],
    rival: Standing | None = None,
) -> str:
    """The note, in Markdown.

    Args:
        trial: one that has ended.
        standing: what is known of its candidate.
        incumbent: the best of the trials before it.
        best_input: on each suite, the highest score of an input; empty until each has been looked at.
        differing: documents on which the two differ, in the common order.
        rival: what is known of the incumbent.
    """
    parts = [_result(trial, standing)]
    if trial.candidate is not None:
        parts.append(_candidate(trial.candidate))
    if trial.shift is not None:
        cost = ""
        if trial.penalty:
            own = [trial.scores] if trial.scores is not None else []
            cost = f"; the search takes {Unit(own).gap(trial.penalty)} off its score for that"
        cost += "; beyond the bound, it cannot win" if trial.barred else ""
        parts.append(f"**Shift** {trial.shift:.3f} from {trial.parent}{cost}.")
    parts.append(f"**Proposed by** {trial.origin or 'an unknown sampler'}, {trial.seconds:.1f} s.")
    if standing is not None and trial.duplicate_of is None:
        parts += _suites(standing, best_input)
    if trial.is_scored and incumbent is not None and incumbent.number != trial.continues:
        told = _against(trial, standing, incumbent, rival)
        parts += [told, *_answers(differing, incumbent)]
    return "\n\n".join(part for part in parts if part)


def _result(trial: TrialRecord, standing: Standing | None) -> str:
    if trial.duplicate_of is not None:
        return (
            f"## The same candidate as trial {trial.duplicate_of}\n\nIts scores are that trial's."
        )
    if standing is None:
        words = {"failed": "Could not be scored", "cut off": "Its process was killed"}
        told = words.get(trial.state, trial.state.capitalize())
        return f"## {told}\n\n{_plain(trial.message)}".rstrip()
    lines = [f"## {standing.unit.full(standing.interval)}"]
    if trial.race_log is not None and trial.scores is None:
        rival, count = trial.race_log.lost_to, trial.race_log.estimate.count
        told = "Left for now" if rival is None else f"It lost its race against trial {rival}"
        lines.append(f"{told}, after {count} documents.")
    counted = f": {standing.solved_text}" if standing.solved_text else ""
    lines.append(
        "The score, with its 95% interval, is what the candidate is expected to score on documents like these, by all "
        f"that is known now. It has been scored on {standing.documents_text}{counted}."
    )
    return "\n\n".join(lines)


def _candidate(candidate: Candidate) -> str:
    terms = [f" {c:+.4f} × ({name} − base)" for name, c in candidate.coefficients.items()]
    lines = ["```", f"candidate = base{''.join(terms)}", "```"]
    reading = str(read(candidate.coefficients))
    mix = f" As a mix: {reading}." if reading else ""
    told = f"Effective coefficients c: 1 is a checkpoint as it is.{mix}"
    if candidate.method not in PLAIN:
        own = ", ".join(f"{name} {value:g}" for name, value in candidate.parameters.items())
        told += f" Method {candidate.method}{': ' + own if own else ''}."
    if candidate.grouped:
        told += f" Means of {len(candidate.grouped)} groups of tensors:"
        head = ["group", *candidate.coefficients]
        rows = [
            [label, *(f"{values[name]:.4f}" for name in candidate.coefficients)]
            for label, values in candidate.grouped.items()
        ]
        return "\n".join([*lines, "", told, "", table(head, rows)])
    return "\n".join([*lines, "", told])


def _suites(standing: Standing, best_input: Mapping[str, float]) -> list[str]:
    """Each suite's score."""
    kinds = [kind for kind in KINDS if any(kind in part.audit for part in by_suite(standing.trial))]
    rows = []
    for part in by_suite(standing.trial):
        found, count = standing.scores[part.suite], standing.suites[part.suite].count
        unit = Unit(
            percent=is_binary([v for v in part.values if not math.isnan(v)]), scale=part.scale
        )
        score = unit.full(found)
        if not isinstance(part, DocumentScores):
            score += f", from {count} documents"
        gain = unit.signed(found.estimate - best_input[part.suite]) if best_input else "–"
        odd = [share_text(part.audit.get(kind)) for kind in kinds]
        rows.append([part.suite, metric_text(part), score, gain, *odd])
    head = [
        "suite",
        "metric",
        "score by what is known now (95%)",
        "over the best input there",
        *kinds,
    ]
    return [table(head, rows)]


def _against(
    trial: TrialRecord, standing: Standing | None, incumbent: TrialRecord, rival: Standing | None
) -> str:
    pairs = paired(trial, incumbent)
    won, lost = sum(a > b for *_, a, b in pairs), sum(a < b for *_, a, b in pairs)
    gain = ""
    if standing is not None and rival is not None:
        unit = standing.unit
        gain = f"{unit.full(difference(standing, rival), sign=True)}{', points' * unit.percent}; "
    return (
        f"**Against trial {incumbent.number}**, the best before it: {gain}"
        f"won {won}, lost {lost} of the {len(pairs)} documents that both have been asked."
    )


def paired(trial: TrialRecord, other: TrialRecord) -> list[tuple[int, int, float, float]]:
    """Search documents that both were scored on: number of suite and document, and both values."""
    found = []
    for suite, (a, b) in enumerate(zip(by_suite(trial), by_suite(other), strict=True)):
        for document, (x, y) in enumerate(zip(a.values, b.values, strict=True)):
            if not (math.isnan(x) or math.isnan(y)):
                found.append((suite, document, x, y))
    return found


def _answers(differing: Sequence[Difference], incumbent: TrialRecord) -> list[str]:
    shown = [d for won in (True, False) for d in [e for e in differing if e.won == won][:_SHOWN]]
    if not shown:
        return []
    told = [
        f"**{'Won' if found.won else 'Lost'}: {found.document}**\n\n{_quoted(found.question)}\n\n"
        f"This trial:\n\n{_quoted(found.answer)}\n\nTrial {incumbent.number}:\n\n"
        f"{_quoted(found.other)}"
        for found in shown
    ]
    return ["### First differing answers", *told]


def _quoted(text: str) -> str:
    """Text that a model wrote, as a block in which nothing is markup."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    lines = [part for line in cut.strip().splitlines() for part in textwrap.wrap(line, 88) or [""]]
    return "```\n" + "\n".join(lines).replace("```", "'''") + "\n```"


def _plain(text: str) -> str:
    return f"`{' '.join(text.split()).replace('`', chr(39))}`" if text else ""


def documents_csv(trial: TrialRecord, incumbent: TrialRecord | None) -> str:
    """The trial's scores document by document, beside those of the best before it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["suite", "document", "score", "score of the best before"])
    others: dict[tuple[str, str], float] = {}
    for part in by_suite(incumbent) if incumbent is not None else ():
        turn, pairs = part.scale.turn, zip(part.documents, part.values, strict=True)
        others |= {(part.suite, d): turn(v) for d, v in pairs}
    for part in by_suite(trial):
        for document, value in zip(part.documents, part.values, strict=True):
            other = others.get((part.suite, document), math.nan)
            if not math.isnan(value):
                beside = "" if math.isnan(other) else f"{other:g}"
                writer.writerow([part.suite, document, f"{part.scale.turn(value):g}", beside])
    return stream.getvalue()
