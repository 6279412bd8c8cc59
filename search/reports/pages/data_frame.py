"""A search's trials and their scores as tables, for pandas and whatever reads Parquet or CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exme.evaluators import DocumentScores
from exme.search.proof import Outcome
from exme.search.study import read
from exme.search.trials import Part, Standing, TrialRecord, by_suite, standing_by_trial, standings
from exme.tasks import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

_WRITERS = {".parquet": "to_parquet", ".csv": "to_csv"}


def trials_table(trials: Sequence[TrialRecord]) -> DataFrame:
    """One row a trial: what was tried, its candidate's score with its 95% interval, each suite's, its time.

    The score is what the candidate is expected to score on documents like these, by all that is known now, on however
    many ``documents`` it was scored, in the metric's own values. Columns of coefficients are named ``c.<checkpoint>``, of their shares
    ``beta.<checkpoint>``, of suites ``score.<suite>``. Every row has all of them; NaN is what there is not: alpha and beta of
    coefficients that are no mix, the score of a trial that failed.
    """
    from pandas import DataFrame  # noqa: PLC0415  (slow to import)

    known = standing_by_trial(standings(trials), trials)
    return DataFrame([_row(trial, known.get(trial.number)) for trial in trials])


def _row(trial: TrialRecord, standing: Standing | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial": trial.number,
        "state": trial.state,
        "origin": trial.origin,
        "duplicate_of": trial.duplicate_of,
        "seconds": trial.seconds,
        "message": trial.message,
    }
    if trial.candidate is not None:
        row |= {"digest": trial.candidate.digest, "method": trial.candidate.method}
        coefficients = trial.candidate.coefficients
        row |= {f"c.{name}": c for name, c in coefficients.items()}
        reading = read(coefficients)
        row["alpha"] = math.nan if reading.alpha is None else reading.alpha
        row |= {f"beta.{name}": (reading.beta or {}).get(name, math.nan) for name in coefficients}
    row |= dict.fromkeys(("score", "low", "high"), math.nan)
    if standing is not None:
        interval = standing.unit.shown(standing.interval)
        row |= {"score": interval.estimate, "low": interval.low, "high": interval.high}
        row["documents"] = standing.count
        row |= {
            f"score.{suite}": standing.scales[suite].turn(found.estimate)
            for suite, found in standing.scores.items()
        }
    return row


def documents_table(outcome: Outcome) -> DataFrame:
    """One row a model and document: trials on the search documents, inputs and merged on the report's.

    A candidate that was scored in part has the documents that it was asked, under its last trial.

    Columns: ``model`` (``trial 3``, ``base``, ``merged``), ``suite``, ``split``, ``document``,
    ``metric``, ``score``.
    """
    from pandas import DataFrame  # noqa: PLC0415

    taken_up = {t.continues for t in outcome.trials}
    scored: list[tuple[str, Sequence[DocumentScores | Part]]] = [
        (f"trial {t.number}", by_suite(t)) for t in outcome.trials if t.number not in taken_up
    ]
    entries = [*outcome.inputs, *([outcome.merged] if outcome.merged else [])]
    scored += [(entry.name, entry.report.parts) for entry in entries]
    columns: dict[str, list[Any]] = {
        name: [] for name in ("model", "suite", "split", "document", "metric", "score")
    }
    for model, parts in scored:
        for part in parts:
            seen = [i for i, value in enumerate(part.values) if not math.isnan(value)]
            columns["document"] += [part.documents[i] for i in seen]
            columns["score"] += [part.scale.turn(part.values[i]) for i in seen]
            same = {"model": model, "suite": part.suite, "split": part.split, "metric": part.metric}
            for name, text in same.items():
                columns[name] += [text] * len(seen)
    return DataFrame(columns)


def write_table(table: DataFrame, out: Path) -> None:
    """Write a table as Parquet or CSV, by the file's name.

    Raises:
        UserError: the name ends otherwise, or the file cannot be written.
    """
    writer = _WRITERS.get(out.suffix)
    if writer is None:
        raise UserError(f"{out}: expected a name that ends in {' or '.join(_WRITERS)}")
    try:
        getattr(table, writer)(out, index=False)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from None
