"""The end of a race: candidates that may yet be the best are scored on all documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exme.search.trials.trial import TrialRecord

from .history import History

# At a search's end so many candidates that may yet be the best are scored on all documents.
FINALISTS = 3


def finalists(history: History) -> list[tuple[TrialRecord, int]]:
    """Candidates that may be the best and were scored in part, with the documents they lack.

    They are those whose posterior mean is less than a standard deviation below the incumbent, best first;
    where nobody is complete yet, the best one.
    """
    lineup = history.lineup
    places = lineup.open_places()
    if not places:
        return []
    state = history.state
    posterior = state.surrogate.at(np.stack([lineup.runners[i].point for i in places]))
    spread = np.sqrt(np.maximum(np.diag(posterior.covariance), 0))
    order = [int(i) for i in np.argsort(-posterior.mean)]
    if state.incumbent is None:
        order = order[:1]
    else:
        # (the posterior is one of merits, less what a shift costs)
        penalty = lineup.runners[state.incumbent].penalty
        top = state.estimates[state.incumbent].mean - penalty
        order = [i for i in order if posterior.mean[i] + spread[i] > top][:FINALISTS]
    chosen = [places[i] for i in order]
    count = history.settled.count
    return [(lineup.trials[p], count - len(lineup.runners[p].seen)) for p in chosen]


def owed(found: Sequence[tuple[TrialRecord, int]]) -> int:
    """Documents that finalists lack."""
    return sum(count for _, count in found)
