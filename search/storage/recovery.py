"""Trials whose worker is gone: closed by what they left, and their points tried again.

A trial is closed first and requeued second, by whoever comes next, so that a kill between any two lines neither loses
nor doubles it.
"""

from __future__ import annotations

from collections.abc import Sequence

from optuna import Study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from exme.search.trials import FINAL, RaceLog

from .packing import as_told
from .study_record import StudyRecord

# What Optuna is told of a trial: its values (`as_told`), or its race where it was scored in part.
Told = list[float] | RaceLog | None


def end_trial(study: Study, trial_id: int, state: TrialState, values: Told = None) -> None:
    """Close a trial; one that was scored in part with the estimate as Optuna's value of it.

    Raises:
        UpdateFinishedTrialError: it is closed already.
    """
    if isinstance(values, RaceLog):
        race, values = values, None
        # (of several objectives Optuna has no value of a pruned trial)
        if len(study.directions) == 1:
            values = as_told([race.estimate.mean], race.partial.parts)
            study._storage.set_trial_intermediate_value(trial_id, race.estimate.count, values[0])
    study._storage.set_trial_state_values(trial_id, state, values)


class Recovery:
    """Of one study.

    Args:
        study: Optuna's.
        record: what is kept of it as a whole.
    """

    def __init__(self, study: Study, record: StudyRecord) -> None:
        self._study, self._record = study, record
        self._followed: set[int] = set()  # trials that were cut off and are requeued
        self._settled: set[int] = set()  # finished trials that `requeue` has seen

    def close(self, trial: FrozenTrial) -> str:
        """End a trial that nobody has in hand any more, by what it left."""
        number, attributes = trial.number, trial.user_attrs
        if trial.state != TrialState.RUNNING:
            return ""
        told = f"trial {number} had been scored when its process was killed"
        try:
            if "scores" in attributes:
                scores = self._record.unpack(attributes["scores"])
                values = attributes.get("value") or as_told([scores.mean], scores.parts)
                end_trial(self._study, trial._trial_id, TrialState.COMPLETE, values)
            elif "course" in attributes.get("look", {}):
                race_log = RaceLog.from_json(attributes["look"]["course"], self._record.identifiers)
                end_trial(self._study, trial._trial_id, TrialState.PRUNED, race_log)
            else:
                # Closed first, which fails where its worker's last word is still on its way to the
                # database, and requeued by `take_stock`, this one or the next.
                end_trial(self._study, trial._trial_id, TrialState.FAIL)
                told = f"trial {number} was cut off and is taken up again"
        except UpdateFinishedTrialError:
            return ""  # it ended, or was taken back, between two lines
        return told

    def requeue(self, trials: Sequence[FrozenTrial]) -> None:
        """Have the points of trials that were cut off tried again, each once.

        The trial that stands for another says so.
        """
        new = [t for t in trials if t.number not in self._settled]
        self._followed |= {t.user_attrs["again"] for t in new if "again" in t.user_attrs}
        for trial in new:
            is_cut_off = trial.state == TrialState.FAIL and "message" not in trial.user_attrs
            # (what is named in the end is decided anew)
            if not is_cut_off or trial.user_attrs.get("origin") == FINAL:
                continue
            parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            if parameters and trial.number not in self._followed:
                origin = {k: v for k, v in trial.user_attrs.items() if k == "origin"}
                again = {**origin, "again": trial.number}
                self._study.enqueue_trial(parameters, user_attrs=again)
                self._followed.add(trial.number)
        self._settled |= {t.number for t in new if t.state.is_finished()}
