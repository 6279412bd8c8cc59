"""A budget of hours: how many search documents there is still time for, with the proof that comes after them."""

from __future__ import annotations

from exme.search.trials import pace_of

from .history import History

# What is set aside for the proof, in times what it is expected to take: prompts are built and answers are new to all models.
MARGIN = 1.5


def documents_in_time(history: History) -> int | None:
    """Search documents that one worker has time for before the proof has to begin.

    None where the study has no budget of hours, or nothing was scored yet that says how fast it goes.
    """
    hours = history.settled.study.budget.hours
    pace = None if hours is None else pace_of(history.trials)
    if hours is None or pace is None or pace.document <= 0:
        return None
    left = 3600 * hours - history.elapsed - MARGIN * history.settled.to_prove * pace.report
    return max(0, int((left - pace.between) / pace.document))
