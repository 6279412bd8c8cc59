"""What the dashboard says of a whole study, in Markdown: the verdict, the model to use, where the report is."""

from __future__ import annotations

from pathlib import Path

from exme.search.proof import Outcome
from exme.search.reports.pages import in_words, next_step
from exme.search.trials import counted

_PRUNED = (
    "Trials that are marked as pruned are no failures: their candidates were scored on some search documents, then paused "
    "or rejected. The first value of a trial is what it scored then; its note has what is known of it now."
)


def study_note(outcome: Outcome, report: Path | None) -> str:
    """The note.

    Args:
        outcome: the search so far.
        report: the report, where it has been written.
    """
    found = outcome.verdict
    parts = [
        f"## {found.sentence}",
        found.caution,
        f"{counted(outcome.trials)}.",
        *in_words(outcome),
        *next_step(outcome),
    ]
    if report is not None:
        parts.append(f"Report: [{report.name}]({report.resolve().as_uri()}), `{report}`")
    return "\n\n".join(part for part in [*parts, _PRUNED] if part)
