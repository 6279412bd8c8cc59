"""A search for machines: one JSON object a line, on standard output.

Every object has ``event`` and ``time`` (UTC, ISO 8601). Fields may be added; none changes its meaning.
docs/reference/events.md lists them.
"""

from __future__ import annotations

import json
import math
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from exme.search.proof import Verdict
from exme.search.running import Screen, View
from exme.search.study import read
from exme.search.trials import (
    Standing,
    TrialRecord,
    scores_seen,
    standing_by_trial,
    standings,
)

from .live import Refresher

_UNFINISHED = ("running", "waiting")


class JsonScreen(Screen):
    """Writes a search's events.

    Args:
        stream: where to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self.stream = stream or sys.stdout
        self._writing = threading.Lock()
        self._told: set[int] = set()
        self._watch: Refresher | None = None

    def say(self, line: str, style: str = "") -> None:
        """``message``: what a person would read."""
        self._write("message", text=line)

    def begin(self, read: Callable[[], View]) -> None:
        """``begin``: the search, and how much of it has been done."""
        if self._watch is not None:
            return
        view = read()
        self._told = {t.number for t in view.trials if t.state not in _UNFINISHED}
        self._write("begin", **search_facts(view))
        self._watch = Refresher(read, self._tell_new)

    def trial(
        self,
        trial: TrialRecord,
        trials: Sequence[TrialRecord],
        left: str,
        inputs: Collection[str] = (),
    ) -> None:
        """``trial``: one that has ended, here or at another worker."""
        if self._watch is not None:
            self._watch.now()
            return
        known = standing_by_trial(standings(trials), trials).get(trial.number)
        self._write("trial", **trial_facts(trial, known))

    def _tell_new(self, view: View) -> None:
        for trial in view.trials:
            if trial.state not in _UNFINISHED and trial.number not in self._told:
                self._told.add(trial.number)
                known = standing_by_trial(view.standings, [trial]).get(trial.number)
                self._write("trial", **trial_facts(trial, known), **_standing(view))

    def note(self, text: str) -> None:
        """``message``."""
        self.say(text)

    def verdict(self, found: Verdict, report: Path, following: Sequence[str] = ()) -> None:
        """``verdict``: the result."""
        self.close()
        self._write("verdict", **verdict_facts(found), report=str(report))

    def close(self) -> None:
        """No more trials."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _write(self, event: str, **facts: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"event": event, "time": time, **facts}, ensure_ascii=False)
        with self._writing:  # (trials are told from a thread of their own)
            self.stream.write(line + "\n")
            self.stream.flush()


def search_facts(view: View) -> dict[str, Any]:
    """A search as a whole: ``study``, ``budget``, ``verdict`` (to those who read the storage), and `_standing`."""
    budget = {k: v for k, v in view.budget.model_dump().items() if v is not None}
    found = None if view.verdict is None else verdict_facts(view.verdict)
    return {
        "study": view.study,
        "budget": budget,
        "inputs": list(view.inputs),
        "verdict": found,
        **_standing(view),
    }


def _standing(view: View) -> dict[str, Any]:
    """How a search stands: ``used``, ``best``, ``gain`` over the best input, ``seconds_left``."""
    trials, documents, minutes = view.used
    gain, best, other = view.gain, view.best, view.best_input
    left = view.seconds_left
    return {
        "used": {
            "trials": trials,
            "documents": documents,
            "minutes": round(minutes, 3),
            "hours": round(view.elapsed / 3600, 4),
        },
        "best": None if best is None else {"number": best.trial.number, **_score(best)},
        "gain": None
        if gain is None or other is None
        else {
            "over": view.name_of(other),
            "estimate": gain.estimate,
            "low": _finite(gain.low),
            "high": _finite(gain.high),
        },
        "seconds_left": None if left is None else round(left, 1),
    }


def trial_facts(trial: TrialRecord, standing: Standing | None = None) -> dict[str, Any]:
    """A trial: candidate, the candidate's score with its interval by what is known now, time."""
    facts: dict[str, Any] = {
        "number": trial.number,
        "state": trial.state,
        "origin": trial.origin,
        "message": trial.message,
        "duplicate_of": trial.duplicate_of,
        "seconds": trial.seconds,
    }
    if trial.candidate is not None:
        reading = read(trial.candidate.coefficients)
        facts |= {
            "candidate": trial.candidate.to_json() | {"digest": trial.candidate.digest},
            "alpha": reading.alpha,
            "beta": None if reading.beta is None else dict(reading.beta),
        }
    if standing is not None:
        facts |= _score(standing)
        facts["suites"] = {
            suite: standing.scales[suite].turn(score.estimate)
            for suite, score in standing.scores.items()
        }
        seen = scores_seen(trial)
        facts |= {"metric": seen.metric, "higher_is_better": not seen.scale.is_turned}
    return facts


def _score(standing: Standing) -> dict[str, Any]:
    """A candidate's ``score``, ``low`` and ``high``, and on how many ``documents`` it was scored."""
    found = standing.unit.shown(standing.interval)
    return {
        "score": found.estimate,
        "low": _finite(found.low),
        "high": _finite(found.high),
        "documents": standing.count,
    }


def verdict_facts(found: Verdict) -> dict[str, Any]:
    """A verdict: ``state``, ``proved``, ``sentence``, ``recommended``, ``best_input``, ``gain``, ``caution``."""
    gain = found.gain
    return {
        "state": found.state,
        "proved": found.proved,
        "sentence": found.sentence,
        "recommended": found.recommended,
        "best_input": found.best_input,
        "gain": None
        if gain is None
        else {
            "estimate": gain.estimate,
            "low": _finite(gain.low),
            "high": _finite(gain.high),
            "level": gain.level,
            "p": gain.p,
        },
        "caution": found.caution,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
