"""The report's sections on scores: what was proved on the report documents."""

from __future__ import annotations

from exme.evaluators import metric_text
from exme.search.proof import (
    Audit,
    Entry,
    Outcome,
    audit_of,
    best_input,
    gain_on_suite,
    share_text as share_of,
)
from exme.search.statistics import Interval, compare, mean_interval
from exme.search.trials import Unit, count_of, p_text, share_text, standing_of, standings

from .section import Block, Section, Table


def proof_sections(outcome: Outcome) -> list[Section]:
    """Scores, by suite, what was to be kept, what else changed, and the audit; without those that have nothing to say yet."""
    found = [
        _scores(outcome),
        _by_suite(outcome),
        _kept(outcome),
        also_section(outcome),
        _audit(outcome),
    ]
    return [section for section in found if section]


def entries_of(outcome: Outcome) -> list[Entry]:
    """What was scored on the report documents, merged first."""
    return [*([outcome.merged] if outcome.merged else []), *outcome.inputs]


def _scores(outcome: Outcome) -> Section | None:
    entries = entries_of(outcome)
    if not entries:
        return None
    unit = Unit(e.report for e in entries)
    search_unit = Unit(e.search for e in entries if e.search)
    known = standings(outcome.trials)
    head = ["model", "report documents", "expected by the search documents"]
    rows = []
    for entry in entries:
        searched = search_unit.full(mean_interval(entry.search)) if entry.search else "–"
        found = standing_of(known, entry.candidate.digest)
        if found is not None:
            count = "" if found.is_complete else f", {found.documents_text}"
            searched = f"{found.unit.full(found.interval)}{count}"
        rows.append([entry.name, unit.full(mean_interval(entry.report)), searched])
    both = [s for s in (entries[0].report, entries[0].search) if s]
    sizes = " and ".join(f"{count_of(s)} (chosen with seed {s.seed})" for s in both)
    metrics = "; on search documents ".join(dict.fromkeys(map(metric_text, both)))
    note = (
        f"Metric: {metrics}, on {sizes}. 95% intervals in brackets. What is expected by the search documents is what all candidates together say of a model's score on others "
        "like these, on however many it was scored; that it was chosen for its score there is allowed for."
    )
    proxies = [e.proxy for e in entries]
    if all(proxies):
        head.append("target_nll on report documents")
        proxy_unit = Unit(p for p in proxies if p)
        for row, proxy in zip(rows, proxies, strict=True):
            assert proxy is not None
            row.append(proxy_unit.full(mean_interval(proxy)))
        note += (
            " The search went by target_nll, the negative log-likelihood of the reference answers "
            "in nats per byte (lower is better)."
            " It is a proxy: the verdict goes by the metric."
        )
    if outcome.merged and outcome.inputs:
        won, lost = ("lower", "higher") if unit.scale.is_turned else ("higher", "lower")
        columns, test = _differences(outcome, unit, rows)
        head += columns
        verdict = (
            "takes the largest, and widens the upper end for the number of inputs."
            if outcome.aim.kind == "mean"
            else "goes by the goal of the study."
        )
        note += (
            f" p: one-sided, that merged is not better than this input ({test}); the verdict {verdict}"
            f" Won and lost: report documents on which merged scored {won} and {lost}. The search never saw the report "
            "documents."
        )
    return Section("Scores", [Table(head, rows), note])


def _differences(outcome: Outcome, unit: Unit, rows: list[list[str]]) -> tuple[list[str], str]:
    """Adds to each input's row how merged compares with it, by the verdict's own differences where it goes by a mean.

    Args:
        outcome: the search.
        unit: of the scores.
        rows: merged's and the inputs', in the outcome's order.
    Returns:
        The heads of the new columns, and the name of the test.
    """
    assert outcome.merged is not None
    gain, level = outcome.verdict.gain, outcome.level
    own = gain.by_input if gain is not None and outcome.aim.kind == "mean" else ()
    rows[0] += ["–"] * 4
    test = ""
    for place, (row, entry) in enumerate(zip(rows[1:], outcome.inputs, strict=True)):
        weights = outcome.aim.weights if own else None
        result = compare(outcome.merged.report, entry.report, level=1 - 2 * level, weights=weights)
        difference, p, test = result.difference, result.p_better, result.test
        if own and not own[place].approximate:
            part = own[place]
            difference, p = Interval(part.estimate, part.low(level), part.high(level)), part.p
        row += [unit.full(difference, sign=True), _p_cell(p), str(result.won), str(result.lost)]
    points = ", points" * unit.percent
    head = "gain over this" if unit.scale.is_turned else "merged minus this"
    return [f"{head}{points} ({share_text(level)})", "p", "won", "lost"], test


def _by_suite(outcome: Outcome) -> Section | None:
    """Each suite's scores, and merged's gain on it over the best input of that suite."""
    entries = entries_of(outcome)
    if not entries or len(entries[0].report.parts) < 2:
        return None
    merged = outcome.merged
    rows, p_values = [], []
    inputs = [(entry.name, entry.report) for entry in outcome.inputs]
    level = outcome.level / len(entries[0].report.parts)
    for position, part in enumerate(entries[0].report.parts):
        unit = Unit(entry.report.parts[position] for entry in entries)
        cells = [unit.full(mean_interval(entry.report.parts[position])) for entry in entries]
        row = [part.suite, metric_text(part), *cells]
        if merged is not None and inputs:
            found = gain_on_suite(merged.report, inputs, position, level)
            ends = found.approximate or (found.low, found.high)
            p_values.append(found.p)
            row.append(
                f"{unit.full(Interval(found.estimate, *ends), sign=True)} over {found.over[0]}"
            )
        rows.append(row)
    head = ["suite", "metric", *(entry.name for entry in entries)]
    note = "The mean above weighs every suite the same."
    if len(set(outcome.aim.weights)) > 1:
        note += " The verdict weighs them as the study says."
    if p_values:
        turned = any(part.scale.is_turned for part in entries[0].report.parts)
        what = "gain over" if turned else "merged minus"
        head += [f"{what} the best input there ({share_text(level)})", "p"]
        for row, p in zip(rows, p_values, strict=True):
            row.append(_p_cell(min(1.0, len(rows) * p)))
        note += (
            " p: one-sided, that some input is as good on that suite; p and interval are corrected for the number of suites "
            "(Bonferroni)."
        )
    return Section("By suite", [Table(head, rows), note])


def _kept(outcome: Outcome) -> Section | None:
    """The suites that `keep` names, on the report documents."""
    kept = outcome.verdict.kept
    if not kept:
        return None
    rows = []
    for each in kept:
        unit = Unit(percent=each.in_points, scale=each.scale)
        held = "yes" if each.holds else "no"
        rows.append(
            [each.suite, f"{unit.signed(each.least)} over {each.over}",
             unit.full(each.gain, sign=True), held if each.is_sure else f"{held}, not for sure"]
        )  # fmt: skip
    head = [
        "suite",
        "asked at least",
        f"gain on report documents ({share_text(kept[0].level)})",
        "kept",
    ]
    note = "The search kept to this on its own documents; the report documents may say otherwise."
    return Section("What was to be kept", [Table(head, rows), note])


def also_section(outcome: Outcome) -> Section | None:
    """The suites of `also`: nothing is proved on them."""
    if not outcome.also:
        return None
    rows = []
    for each in outcome.also:
        unit, gain = Unit([each.merged, each.other]), each.gain
        ends = gain.approximate or (gain.low, gain.high)
        moved = unit.full(Interval(gain.estimate, *ends), sign=True)
        rows.append(
            [each.merged.suite, metric_text(each.merged), f"{each.merged.count:,}",
             unit.full(mean_interval(each.merged)), unit.full(mean_interval(each.other)),
             moved, share_text(gain.level), f"{gain.won} : {gain.lost}"]
        )  # fmt: skip
    over = outcome.also[0].over
    turned = any(each.merged.scale.is_turned for each in outcome.also)
    difference = f"gain over {over}" if turned else f"merged minus {over}"
    head = ["suite", "metric", "documents", "merged", over, difference, "interval", "won : lost"]
    note = (
        "Suites that the search did not use (`also` in the study). This is not the proof, and no test: it shows what "
        f"merging changed elsewhere, beside {over}, the best input of the proof. Scores have 95% intervals; those of the "
        "differences are paired, and wider the more suites there are and the more often their documents were used."
    )
    return Section("What else changed", [Table(head, rows), note])


def _audit(outcome: Outcome) -> Section | None:
    shown = [(entry.name, entry.report) for entry in entries_of(outcome)]
    if not shown and outcome.winner and outcome.winner.scores:
        shown = [("best", outcome.winner.scores)]
    parts = [(name, part) for name, scores in shown for part in scores.parts]
    kinds = list(dict.fromkeys(kind for _, part in parts for kind in part.audit))
    if not kinds:
        return None
    several = len(shown[0][1].parts) > 1
    counted = {part.suite for _, part in parts if part.audit}
    rows = [
        [name, *([part.suite] if several else []), *(share_of(part.audit.get(k)) for k in kinds)]
        for name, part in parts
        if part.suite in counted
    ]
    head = ["model", *(["suite"] if several else []), *kinds]
    note = f"Shares of the {shown[0][1].split} documents. cut: as long as an answer may be."
    blocks: list[Block] = [Table(head, rows), note]
    if outcome.merged and outcome.inputs:
        best = best_input(outcome)
        if words := _audit_words(audit_of(outcome.merged, best), outcome.merged, best):
            blocks.append(words)
    return Section("Answers that could not be scored as meant", blocks)


def _audit_words(found: Audit, merged: Entry, best: Entry) -> str:
    """What the audit says about the gain over the best input."""
    unit = Unit([merged.report, best.report])
    caution = found.caution(best.name)
    words = [f"**{caution}**"] if caution else []
    if found.gain > 0 and found.spared is not None and found.documents < merged.report.count:
        words.append(
            f"On the {found.documents} documents where neither has such an answer merged is "
            f"{unit.signed(found.spared)} against {best.name}, {unit.signed(found.gain)} on all."
        )
    if found.longer is not None:
        words.append(
            f"With room for answers of twice the length (scored once) it is "
            f"{unit.signed(found.longer)}."
        )
    return " ".join(words)


def _p_cell(p: float) -> str:
    return p_text(p).removeprefix("p ").removeprefix("= ")
