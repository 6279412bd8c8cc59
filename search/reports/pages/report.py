"""The report of a search: what was found, how sure that is, and how to make it again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from exme.search.merging.methods import METHODS, PLAIN
from exme.search.proof import Example, Outcome, share_of_error
from exme.search.trials import joined, share_text

from .proof_sections import proof_sections
from .search_sections import best_sections, search_sections
from .section import Picture, Report, Section, markdown
from .training_sections import training_sections


def write_report(
    outcome: Outcome,
    folder: Path,
    examples: Sequence[Example] = (),
    sections: Sequence[Section] = (),
) -> Path:
    """Write ``report.md``, ``report.html`` and ``plane.png`` (once a trial is complete).

    Each file is written under a temporary name and then moved into place, so that a reader never
    sees half of one, and an interrupted call leaves the earlier report as it was.

    Args:
        outcome: at any time of a search; what is not known yet is left out.
        folder: made if it does not exist.
        examples: answers that the page shows side by side.
        sections: further ones, at the end.
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
        report = _report(outcome, caption, sections)
        new[text].write_text(markdown(report), encoding="utf-8")
        drawn = new[picture].read_bytes() if caption else None
        new[page].write_text(html_page(outcome, report, drawn, examples), encoding="utf-8")
        for path in (picture, page, text) if caption else (page, text):
            new[path].replace(path)
    finally:
        for temporary in new.values():
            temporary.unlink(missing_ok=True)
    return text


def _report(outcome: Outcome, caption: str, more: Sequence[Section]) -> Report:
    """All that the report says, for both of its renderings."""
    decision = outcome.verdict
    sections = [
        *proof_sections(outcome),
        *training_sections(outcome),
        *best_sections(outcome),
    ]
    if caption:
        picture = Picture("plane.png", "score over the coefficients")
        sections.append(Section("Score over the coefficients", [picture, caption]))
    return Report(
        f"{outcome.study}: {outcome.task}",
        decision.sentence,
        [
            *([f"**{decision.caution}**"] if decision.caution else []),
            *in_words(outcome),
            *next_step(outcome),
            _uses(outcome),
            *_prompts(outcome),
            *(f"{line}." for line in outcome.blind),
        ],
        [*sections, *search_sections(outcome), *more],
    )


def in_words(outcome: Outcome) -> list[str]:
    """The best candidate as a formula, and how much of each checkpoint that is, in a sentence; none where there is none."""
    candidate = outcome.winner.candidate if outcome.winner is not None else None
    if candidate is None:
        return []
    used = {name: c for name, c in candidate.coefficients.items() if c}
    if not used:
        return ["The best candidate is the base itself."]
    shares = joined([f"{100 * c:.0f}% of {name}" for name, c in used.items()])
    means = " (means over groups of tensors)" * bool(candidate.grouped)
    if candidate.method not in PLAIN:
        return [f"merged = {METHODS[candidate.method].title} with {shares}{means}."]
    terms = "".join(
        f" {'+' if c > 0 else '−'} {abs(c):.2f} × ({n} − base)" for n, c in used.items()
    )
    return [f"merged = base{terms}: {shares}{means}, where 100% is the whole fine-tune."]


def next_step(outcome: Outcome) -> list[str]:
    """The command that comes next, in a sentence; none where the study has no file."""
    decision, study = outcome.verdict, outcome.facts.get("study file", "")
    if not study.endswith((".yaml", ".yml")):
        return []
    named = f"{study} --task {outcome.task.replace('+', ',')}"
    if not decision.is_final:
        return [f"Next: `exme search {named}` goes on."]
    if decision.recommended == "merged":
        return [f"Next: `exme export {named} --out merged` writes the model as a folder."]
    return [f"Next: use {decision.recommended} as it is; there is nothing to export."]


def _prompts(outcome: Outcome) -> list[str]:
    """Which prompts were used, where a chat template is in play."""
    told = outcome.facts.get("prompts", "")
    return [f"Prompts: {told}."] if "template" in told else []


def _uses(outcome: Outcome) -> str:
    if outcome.use == 0:
        only = "Only the inputs have been scored on the report documents so far."
        return only if outcome.inputs else "The report documents have not been used yet."
    level = outcome.level
    if outcome.use == 1:
        return (
            "The report documents were used once, after the search, for this comparison. A candidate that is no better "
            f"than its inputs is called proved in at most {share_of_error(1):.1%} of searches; further proofs on the same "
            "documents share another 2.5%."
        )
    return (
        f"This is use {outcome.use} of these report documents, counted over all studies that use them. Every use is "
        f"another chance for a lucky result, so this one is tested at {level:.2g} and has {share_text(level)} intervals; "
        "all uses together call a candidate proved that is no better in at most 5% of cases."
    )
