"""The report's sections on the search: its best candidates, its trials, what it took, how to make it again."""

from __future__ import annotations

from collections.abc import Sequence

from exme.search.merging import Candidate
from exme.search.proof import Outcome
from exme.search.study import read
from exme.search.trials import (
    TrialRecord,
    Unit,
    duration,
    spent,
    standing_by_trial,
    standings,
    unit_of,
)

from .front_chart import front_trials
from .proof_sections import entries_of
from .section import Listing, Section, Table

CONVENTION = (
    "Convention: candidate = base + sum of c_i × (checkpoint_i − base), with "
    "1 + alpha = sum of c_i and beta_i = c_i / (1 + alpha)."
)


def best_sections(outcome: Outcome) -> list[Section]:
    """What the search found."""
    return [section for section in (_front(outcome), _best(outcome)) if section]


def search_sections(outcome: Outcome) -> list[Section]:
    """How it was found."""
    found = [_bounds(outcome), _cost(outcome), _facts(outcome), _trials(outcome.trials)]
    return [section for section in found if section]


def _front(outcome: Outcome) -> Section | None:
    """The candidates of a Pareto front on the search documents; the knee is the one that was proved."""
    chosen = front_trials(outcome)
    if not chosen:
        return None
    if outcome.winner is not None and outcome.winner not in chosen:
        chosen.append(outcome.winner)
    known = standing_by_trial(standings(outcome.trials), chosen)
    rows = []
    for trial in chosen:
        candidate, mark = trial.candidate, "knee" if trial == outcome.winner else ""
        assert candidate is not None
        values = ", ".join(f"{n} {c:.4f}" for n, c in candidate.coefficients.items())
        standing = known[trial.number]
        scores = [
            standing.unit_on(suite).score(found.estimate)
            for suite, found in standing.scores.items()
        ]
        rows.append([str(trial.number), values, *scores, mark])
    head = ["trial", "coefficients", *known[chosen[0].number].scores, ""]
    note = (
        "Candidates that no other is expected to beat on every suite, by the search documents. The knee, which was proved, is "
        "the farthest beyond the plane through the front's ends, by what was counted on these documents."
    )
    return Section("The Pareto front", [Table(head, rows), note])


def _best(outcome: Outcome) -> Section | None:
    if outcome.winner is None or outcome.winner.candidate is None:
        return None
    candidate = outcome.winner.candidate
    reading = read(candidate.coefficients)
    rows = [
        [name, f"{c:.4f}", f"{reading.beta[name]:.4f}" if reading.beta else "–"]
        for name, c in candidate.coefficients.items()
    ]
    where = f"Trial {outcome.winner.number} ({outcome.winner.origin})"
    alpha = "" if reading.alpha is None else f"alpha = {reading.alpha:.4f}, "
    told = f"{where}, {alpha}digest `{candidate.digest}`.{_shift(outcome.winner)}"
    shown = Table(["checkpoint", "coefficient c", "share beta"], rows)
    groups = _groups(outcome.trials, candidate)
    return Section("The best candidate", [told, shown, *([groups] if groups else []), CONVENTION])


def _groups(trials: Sequence[TrialRecord], best: Candidate) -> str:
    """Whether the documents told the groups of tensors apart; empty where there are none."""
    scored = {t.candidate.digest: t.candidate for t in trials if t.candidate and t.is_scored}
    apart = sum(bool(candidate.grouped) for candidate in scored.values())
    if not apart or best.grouped:
        return ""
    return (
        f"All groups of tensors have these coefficients. Of {apart} scored candidates whose groups have different ones, none was "
        f"chosen. To tell groups apart takes more search documents."
    )


def _shift(trial: TrialRecord) -> str:
    """A trial's shift from a parent in a sentence, where the study asks for it."""
    if trial.shift is None:
        return ""
    told = f" Its shift from {trial.parent} is {trial.shift:.3f} (1 is the base's)"
    if trial.penalty:
        told += (
            f"; the search took {Unit([trial.scores] if trial.scores else []).gap(trial.penalty)} off its score for that, "
            f"which the scores here do not show"
        )
    return f"{told}."


def _trials(trials: Sequence[TrialRecord]) -> Section:
    if not trials:
        return Section("Trials", ["None yet."])
    known = standing_by_trial(standings(trials), trials)
    unit = unit_of(list(known.values()))
    rows = []
    for trial in trials:
        place = ["–", "–"]
        if trial.candidate:
            values = trial.candidate.coefficients
            place = [", ".join(f"{n} {c:.2f}" for n, c in values.items()), str(read(values)) or "–"]
        score = unit.full(known[trial.number].interval) if trial.number in known else "–"
        seconds = f"{trial.seconds:.1f}" if trial.scores or trial.race_log else "–"
        note = "" if trial.state == "complete" else f"{trial.state}: {trial.message}".rstrip(": ")
        if trial.race_log is not None:
            count, rival = trial.race_log.estimate.count, trial.race_log.lost_to
            lost = f", behind trial {rival}" if rival is not None else ""
            note = f"{trial.state} after {count} documents{lost}"
        if trial.duplicate_of is not None:
            note = f"same candidate as trial {trial.duplicate_of}"
        if trial.shift is not None:
            beyond = ", beyond the bound: it cannot win" if trial.barred else ""
            note += f"{'; ' * bool(note)}shift {trial.shift:.2f} from {trial.parent}{beyond}"
        rows.append([str(trial.number), trial.origin, *place, score, seconds, note])
    head = ["trial", "origin", "coefficients", "alpha, beta", "score (95%)", "seconds", "note"]
    return Section("Trials", [Table(head, rows)], is_long=True)


def _bounds(outcome: Outcome) -> Section | None:
    lines = [f"{name}: {low:g} to {high:g}" for name, (low, high) in outcome.bounds.items()]
    return Section("Bounds", [Listing(lines)]) if lines else None


_WORK = {
    "propose": "proposing the next candidate",
    "materialise": "writing candidates into the model",
    "model": "the model's answers",
    "judge": "prompts, filters and metrics",
}


def _cost(outcome: Outcome) -> Section | None:
    trials, documents, minutes = spent(outcome.trials)
    if not trials:
        return None
    proof = sum(entry.report.count for entry in entries_of(outcome))
    rows = [
        ["candidates tried", f"{trials}"],
        ["trials, of which a candidate has one for each round", f"{len(outcome.trials)}"],
        ["search documents scored", f"{documents:,}"],
        ["report documents scored", f"{proof:,}"],
        ["time of all trials together", duration(60 * minutes)],
    ]
    total = sum(outcome.work.values()) or 1.0
    for name, seconds in sorted(outcome.work.items(), key=lambda item: -item[1]):
        rows.append([f"– {_WORK.get(name, name)}", f"{duration(seconds)} ({seconds / total:.0%})"])
    return Section("Cost", [Table(["what", "how much"], rows)])


def _facts(outcome: Outcome) -> Section | None:
    if not outcome.facts:
        return None
    rows = [[name, value] for name, value in outcome.facts.items()]
    return Section("To repeat it", [Table(["fact", "value"], rows)])
