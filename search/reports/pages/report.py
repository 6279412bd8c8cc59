"""The report of a search: what was found, how sure that is, and how to make it again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from exme.search.opening.cost import duration
from exme.search.proof.audit import Audit, audit
from exme.search.proof.audit import share_text as share_of
from exme.search.proof.examples import Example
from exme.search.proof.finals import best_input
from exme.search.proof.gain import gain_on_suite, share_of_error
from exme.search.proof.verdict import verdict
from exme.search.racing.goal import front
from exme.search.statistics.intervals import Interval, compare, mean_interval
from exme.search.study.space import read
from exme.search.trials.budget import spent
from exme.search.trials.outcome import Entry, Outcome, TrialRecord
from exme.search.trials.ranking import eligible
from exme.search.trials.standing import standing_by_trial, standing_of, standings
from exme.search.trials.unit import Unit, count_of, p_text, share_text

CONVENTION = (
    "Convention: candidate = base + sum of c_i × (checkpoint_i − base), with "
    "1 + alpha = sum of c_i and beta_i = c_i / (1 + alpha)."
)


def write_report(outcome: Outcome, folder: Path, examples: Sequence[Example] = ()) -> Path:
    """Write ``report.md``, ``report.html`` and ``plane.png`` (once a trial is complete).

    Each file is written under a temporary name and then moved into place, so that a reader never
    sees half of one, and an interrupted call leaves the earlier report as it was.

    Args:
        outcome: at any time of a search; what is not known yet is left out.
        folder: made if it does not exist.
        examples: answers that the page shows side by side.
    Returns:
        The path of ``report.md``.
    Raises:
        OSError: the folder cannot be written.
        ValueError: the entries were not scored on the same documents.
    """
    from .html_report import html_page  # noqa: PLC0415  (needed here only)
    from .plots import plot_plane  # noqa: PLC0415  (matplotlib is slow to import)

    folder.mkdir(parents=True, exist_ok=True)
    text, page, picture = (folder / n for n in ("report.md", "report.html", "plane.png"))
    new = {p: p.with_name(f".{p.name}.{os.getpid()}.tmp") for p in (text, page, picture)}
    try:
        caption = plot_plane(outcome, new[picture]) if outcome.winner else ""
        markdown = _markdown(outcome, caption)
        new[text].write_text(markdown, encoding="utf-8")
        drawn = new[picture].read_bytes() if caption else None
        new[page].write_text(html_page(outcome, markdown, drawn, examples), encoding="utf-8")
        for path in (picture, page, text) if caption else (page, text):
            new[path].replace(path)
    finally:
        for temporary in new.values():
            temporary.unlink(missing_ok=True)
    return text


def _markdown(outcome: Outcome, caption: str) -> str:
    decision = verdict(outcome)
    caution = f" **{decision.caution}**" if decision.caution else ""
    parts = [
        f"# {outcome.study}: {outcome.task}",
        f"**{decision.sentence}**",
        f"{_uses(outcome)}{caution}",
        *(f"{line}." for line in outcome.blind),
        *_scores(outcome),
        *_by_suite(outcome),
        *_kept(outcome),
        *_audit(outcome),
        *_front(outcome),
        *_best(outcome),
    ]
    if caption:
        parts += [
            "## Score over the coefficients",
            "![score over the coefficients](plane.png)",
            caption,
        ]
    parts += [
        "## Trials",
        _trials(outcome.trials),
        *_bounds(outcome),
        *_cost(outcome),
        *_facts(outcome),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _uses(outcome: Outcome) -> str:
    if outcome.use == 0:
        only = "Only the inputs have been scored on the report documents so far."
        return only if outcome.inputs else "The report documents have not been used yet."
    level = share_of_error(outcome.use)
    if outcome.use == 1:
        return (
            "The report documents were used once, after the search, for this comparison. A candidate that is no better "
            f"than its inputs is called proved in at most {level:.1%} of searches; further proofs on the same "
            "documents share another 2.5%."
        )
    return (
        f"This is use {outcome.use} of these report documents, counted over all studies that use them. Every use is "
        f"another chance for a lucky result, so this one is tested at {level:.2g} and has {share_text(level)} intervals; "
        "all uses together call a candidate proved that is no better in at most 5% of cases."
    )


def _entries(outcome: Outcome) -> list[Entry]:
    return [*([outcome.merged] if outcome.merged else []), *outcome.inputs]


def _scores(outcome: Outcome) -> list[str]:
    entries = _entries(outcome)
    if not entries:
        return []
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
            searched = f"{search_unit.full(found.interval)}{count}"
        rows.append([entry.name, unit.full(mean_interval(entry.report)), searched])
    both = [s for s in (entries[0].report, entries[0].search) if s]
    sizes = " and ".join(f"{count_of(s)} (chosen with seed {s.seed})" for s in both)
    metrics = "; on search documents ".join(dict.fromkeys(s.metric for s in both))
    note = f"Metric: {metrics}, on {sizes}. 95% intervals in brackets."
    note += (
        " What is expected by the search documents is what all candidates together say of a model's score on others "
        "like these, on however many it was scored; that it was chosen for its score there is allowed for."
    )
    proxies = [e.proxy for e in entries]
    if all(proxies):
        head.append("target_nll on report documents")
        proxy_unit = Unit(p for p in proxies if p)
        for row, proxy in zip(rows, proxies, strict=True):
            assert proxy is not None
            row.append(proxy_unit.full(_negated(mean_interval(proxy))))
        note += (
            " The search went by target_nll, the negative log-likelihood of the reference answers "
            "in nats per byte (lower is better; its search scores are shown with the sign turned)."
            " It is a proxy: the verdict goes by the metric."
        )
    if outcome.merged and outcome.inputs:
        gain = verdict(outcome).gain
        level = share_of_error(max(1, outcome.use))
        # (of a mean the verdict's own differences, one by one; other goals compare what no table of models can show)
        own = gain.by_input if gain is not None and outcome.aim.kind == "mean" else ()
        head += [
            f"merged minus this{', points' * unit.percent} ({share_text(level)})",
            "p",
            "won",
            "lost",
        ]
        rows[0] += ["–"] * 4
        for place, (row, entry) in enumerate(zip(rows[1:], outcome.inputs, strict=True)):
            weights = outcome.aim.weights if own else None
            result = compare(
                outcome.merged.report, entry.report, level=1 - 2 * level, weights=weights
            )
            difference, p = result.difference, result.p_better
            if own and not own[place].approximate:
                part = own[place]
                difference = Interval(part.estimate, part.low(level), part.high(level))
                p = part.p
            row += [unit.full(difference, sign=True), _p_cell(p), str(result.won), str(result.lost)]
        note += (
            f" p: one-sided, that merged is not better than this input ({result.test}); the verdict "
            f"{'takes the largest, and widens the upper end for the number of inputs' if own else 'goes by the goal of the study'}. "
            "Won and lost: report documents on which merged scored higher and lower. The search never saw the report "
            "documents."
        )
    return ["## Scores", _table(head, rows), note]


def _negated(interval: Interval) -> Interval:
    return Interval(-interval.estimate, -interval.high, -interval.low)


def _by_suite(outcome: Outcome) -> list[str]:
    """Each suite's scores, and merged's gain on it over the best input of that suite."""
    entries = _entries(outcome)
    if not entries or len(entries[0].report.parts) < 2:
        return []
    merged = outcome.merged
    rows, p_values = [], []
    inputs = [(entry.name, entry.report) for entry in outcome.inputs]
    level = share_of_error(max(1, outcome.use)) / len(entries[0].report.parts)
    for position, part in enumerate(entries[0].report.parts):
        unit = Unit(entry.report.parts[position] for entry in entries)
        cells = [unit.full(mean_interval(entry.report.parts[position])) for entry in entries]
        row = [part.suite, part.metric, *cells]
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
        head += [f"merged minus the best input there ({share_text(level)})", "p"]
        for row, p in zip(rows, p_values, strict=True):
            row.append(_p_cell(min(1.0, len(rows) * p)))
        note += (
            " p: one-sided, that some input is as good on that suite; p and interval are corrected for the number of suites "
            "(Bonferroni)."
        )
    return ["## By suite", _table(head, rows), note]


def _audit(outcome: Outcome) -> list[str]:
    shown = [(entry.name, entry.report) for entry in _entries(outcome)]
    if not shown and outcome.winner and outcome.winner.scores:
        shown = [("best", outcome.winner.scores)]
    parts = [(name, part) for name, scores in shown for part in scores.parts]
    kinds = list(dict.fromkeys(kind for _, part in parts for kind in part.audit))
    if not kinds:
        return []
    several = len(shown[0][1].parts) > 1
    counted = {part.suite for _, part in parts if part.audit}
    rows = [
        [name, *([part.suite] if several else []), *(share_of(part.audit.get(k)) for k in kinds)]
        for name, part in parts
        if part.suite in counted
    ]
    head = ["model", *(["suite"] if several else []), *kinds]
    note = f"Shares of the {shown[0][1].split} documents. cut: as long as an answer may be."
    words = ["## Answers that could not be scored as meant", _table(head, rows), note]
    if outcome.merged and outcome.inputs:
        best = best_input(outcome)
        words.append(_audit_words(audit(outcome.merged, best), outcome.merged, best))
    return [each for each in words if each]


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


def _kept(outcome: Outcome) -> list[str]:
    """The suites that `keep` names, on the report documents."""
    kept = verdict(outcome).kept
    if not kept:
        return []
    rows = []
    for each in kept:
        unit = Unit([])
        unit.percent = each.in_points
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
    return ["## What was to be kept", _table(head, rows), note]


def _front(outcome: Outcome) -> list[str]:
    """The candidates of a Pareto front on the search documents; the knee is the one that was proved."""
    done = [t for t in eligible(outcome.trials) if t.duplicate_of is None and t.candidate]
    if outcome.aim.kind != "pareto" or not done:
        return []
    parts = [t.scores.parts for t in done if t.scores]
    chosen = front([[part.mean for part in each] for each in parts])
    known = standing_by_trial(standings(outcome.trials), done)
    rows = []
    for i in sorted(chosen, key=lambda i: -parts[i][0].mean):
        candidate, mark = done[i].candidate, "knee" if done[i] == outcome.winner else ""
        assert candidate is not None
        values = ", ".join(f"{n} {c:.4f}" for n, c in candidate.coefficients.items())
        standing = known[done[i].number]
        unit = Unit([], percent=standing.is_share)
        scores = [unit.score(found.estimate) for found in standing.scores.values()]
        rows.append([str(done[i].number), values, *scores, mark])
    head = ["trial", "coefficients", *(part.suite for part in parts[0]), ""]
    note = (
        "Candidates that no other beat on every suite, on the search documents, with the scores that "
        "are expected of them. The knee is the farthest beyond the plane through the front's ends."
    )
    return ["## The Pareto front", _table(head, rows), note]


def _best(outcome: Outcome) -> list[str]:
    if outcome.winner is None or outcome.winner.candidate is None:
        return []
    candidate = outcome.winner.candidate
    reading = read(candidate.coefficients)
    rows = [
        [name, f"{c:.4f}", f"{reading.beta[name]:.4f}" if reading.beta else "–"]
        for name, c in candidate.coefficients.items()
    ]
    where = f"Trial {outcome.winner.number} ({outcome.winner.origin})"
    alpha = "" if reading.alpha is None else f"alpha = {reading.alpha:.4f}, "
    return [
        "## The best candidate",
        f"{where}, {alpha}digest `{candidate.digest}`.{_shift(outcome.winner)}",
        _table(["checkpoint", "coefficient c", "share beta"], rows),
        CONVENTION,
    ]


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


def _trials(trials: Sequence[TrialRecord]) -> str:
    if not trials:
        return "None yet."
    known = standing_by_trial(standings(trials), trials)
    unit = Unit([], percent=all(standing.is_share for standing in known.values()))
    rows = []
    for trial in trials:
        place = ["–", "–"]
        if trial.candidate:
            values = trial.candidate.coefficients
            place = [", ".join(f"{n} {c:.4f}" for n, c in values.items()), str(read(values)) or "–"]
        score = unit.full(known[trial.number].interval) if trial.number in known else "–"
        seconds = f"{trial.seconds:.1f}" if trial.scores or trial.course else "–"
        note = "" if trial.state == "complete" else f"{trial.state}: {trial.message}".rstrip(": ")
        if trial.course is not None:
            count, rival = trial.course.estimate.count, trial.course.lost_to
            lost = f", behind trial {rival}" if rival is not None else ""
            note = f"{trial.state} after {count} documents{lost}"
        if trial.duplicate_of is not None:
            note = f"same candidate as trial {trial.duplicate_of}"
        if trial.shift is not None:
            beyond = ", beyond the bound: it cannot win" if trial.barred else ""
            note += f"{'; ' * bool(note)}shift {trial.shift:.2f} from {trial.parent}{beyond}"
        rows.append([str(trial.number), trial.origin, *place, score, seconds, note])
    head = ["trial", "origin", "coefficients", "alpha, beta", "score (95%)", "seconds", "note"]
    return _table(head, rows)


def _bounds(outcome: Outcome) -> list[str]:
    lines = [f"- {name}: {low:g} to {high:g}" for name, (low, high) in outcome.bounds.items()]
    moved = [f"- {sentence}" for sentence in outcome.widened] or ["- never widened"]
    return ["## Bounds", "\n".join([*lines, *moved])] if lines else []


_WORK = {
    "propose": "proposing the next candidate",
    "materialise": "writing candidates into the model",
    "model": "the model's answers",
    "judge": "prompts, filters and metrics",
}


def _cost(outcome: Outcome) -> list[str]:
    trials, documents, minutes = spent(outcome.trials)
    if not trials:
        return []
    proof = sum(entry.report.count for entry in _entries(outcome))
    rows = [
        ["trials", f"{trials}"],
        ["search documents scored", f"{documents:,}"],
        ["report documents scored", f"{proof:,}"],
        ["time of all trials together", duration(60 * minutes)],
    ]
    total = sum(outcome.work.values()) or 1.0
    for name, seconds in sorted(outcome.work.items(), key=lambda item: -item[1]):
        rows.append([f"– {_WORK.get(name, name)}", f"{duration(seconds)} ({seconds / total:.0%})"])
    return ["## Cost", _table(["what", "how much"], rows)]


def _facts(outcome: Outcome) -> list[str]:
    if not outcome.facts:
        return []
    rows = [[name, value] for name, value in outcome.facts.items()]
    return ["## To repeat it", _table(["fact", "value"], rows)]


def _p_cell(p: float) -> str:
    return p_text(p).removeprefix("p ").removeprefix("= ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """One line, with pipes escaped: anything else would end the cell or the table."""
    return " ".join(text.split()).replace("|", "\\|")
