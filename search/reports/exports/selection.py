"""Which trials to export: the best, a number, the top few, or the Pareto front over the suites."""

from __future__ import annotations

from collections.abc import Sequence

from exme.search.reports.pages import pareto_front
from exme.search.trials import TrialRecord, best_trial, complete
from exme.tasks import UserError


def pick(
    trials: Sequence[TrialRecord],
    *,
    number: int | None = None,
    top: int | None = None,
    pareto: bool = False,
) -> list[TrialRecord]:
    """Complete trials, each candidate once, the best first.

    Args:
        trials: of the study.
        number: that trial alone; it may have been scored in part.
        top: so many of the best.
        pareto: of those that were scored on all search documents, the ones that no other beats on one suite without
            losing on another.

    Raises:
        UserError: there is no such trial, it was not scored, no trial is complete, or several of the choices were made.
    """
    if sum(choice is not None for choice in (number, top)) + pareto > 1:
        raise UserError("export: give one of --trial, --top and --pareto")
    if number is not None:
        return [_numbered(trials, number)]
    ranked = ranking(trials)
    if pareto:
        front = pareto_front(complete(ranked), trials)
        if not front:
            raise UserError(
                "export: no candidate was scored on all search documents yet, so there is no front; --top takes the best "
                "by what is known"
            )
        return front
    return ranked[: top or 1]


def _numbered(trials: Sequence[TrialRecord], number: int) -> TrialRecord:
    found = next((t for t in trials if t.number == number), None)
    if found is None:
        last = f"0 to {len(trials) - 1}" if trials else "none yet"
        raise UserError(f"trial {number}: there is no such trial (have: {last})")
    if not found.is_scored or found.candidate is None:
        why = f"it {found.state}: {found.message}" if found.message else f"it is {found.state}"
        raise UserError(f"trial {number}: was not scored ({why}); `exme status` lists others")
    return found


def ranking(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials as `best_trial` ranks them, the best first, each candidate once; of a Pareto front complete ones only."""
    done = [t for t in trials if t.belief is not None] or complete(trials)
    found, seen = [], set[str]()
    while (best := best_trial(done)) is not None:
        done.remove(best)
        if best.candidate is not None and best.candidate.digest not in seen:
            seen.add(best.candidate.digest)
            found.append(best)
    return found
