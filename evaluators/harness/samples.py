"""Scores out of lm-eval's sample files (`--log_samples`): one line a document and filter.

The keys are those of lm-eval 0.4.13's `EvaluationTracker.save_results_samples`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exme.evaluators import DocumentScores, Scale, Scores, join, may_be_bounded
from exme.tasks import UserError, did_you_mean, load_suite, suite_names

_FILE = re.compile(r"samples_(?P<task>.+?)(_\d{4}-\d{2}-\d{2}T[\d.\-]+)?\.jsonl")


@dataclass(frozen=True)
class _Line:
    """One document of a task, by one filter."""

    document: str
    filter: str
    metrics: Mapping[str, float]


def is_samples(place: Path) -> bool:
    """Whether a place is a file of lm-eval's samples, or a folder that holds some."""
    return place.is_file() if place.suffix == ".jsonl" else place.is_dir() and any(_files(place))


def read_samples(place: Path, metric: str | None = None) -> Scores:
    """The scores of a model as lm-eval has written them.

    Tasks that are one suite of ours (mmlu's subjects, say) are one suite; others each their own. Of several files of one task
    in a folder the latest counts. Direction is read from the ``results_*.json`` beside; without it, higher is better but for
    metrics whose name says otherwise.

    Args:
        place: a file, or a folder that holds some, in folders of its own too.
        metric: lm-eval's metric, with its filter where there are several (``exact_match,strict-match``); by default the suite's,
            else the first that every line has.

    Raises:
        UserError: it holds no samples, lines cannot be read, or they have no such metric.
    """
    files = (
        {_task(file): file for file in _files(place)} if place.is_dir() else {_task(place): place}
    )
    if not files:
        raise UserError(
            f"{place}: holds no samples_*.jsonl; lm-eval writes them with --log_samples"
        )
    higher = _directions(place if place.is_dir() else place.parent)
    by_suite: dict[str, list[tuple[str, Path]]] = {}
    for task, file in sorted(files.items()):
        by_suite.setdefault(_our_tasks().get(task, task), []).append((task, file))
    return join([_scores(suite, mine, metric, higher) for suite, mine in by_suite.items()])


def _files(folder: Path) -> list[Path]:
    """Sample files, the latest of a task last: their names end in the time."""
    return sorted(folder.rglob("samples_*.jsonl"), key=lambda file: file.name)


def _task(file: Path) -> str:
    found = _FILE.fullmatch(file.name)
    return found["task"] if found else file.stem


@functools.cache
def _our_tasks() -> Mapping[str, str]:
    """The suite of ours that each of lm-eval's tasks is part of."""
    return {task: name for name in suite_names() for task in load_suite(name).lm_eval_tasks}


def _scores(
    suite: str, files: list[tuple[str, Path]], metric: str | None, higher: Mapping[str, bool]
) -> DocumentScores:
    documents, values, name = [], [], metric
    for task, file in files:
        lines = sorted(_lines(file), key=lambda line: line.document)
        name = name or _usual(suite, lines, file)
        plain, _, wanted = name.partition(",")
        chosen = [line for line in lines if not wanted or line.filter == wanted]
        for line in chosen:
            if plain not in line.metrics:
                raise UserError(
                    f"{file}: no metric '{name}' (have: {', '.join(_named(lines))}){did_you_mean(plain, line.metrics)}"
                )
            documents.append(f"{task}/{line.document}")
            values.append(line.metrics[plain])
        if not chosen:
            raise UserError(
                f"{file}: no filter '{wanted}' (have: {', '.join(_named(lines))}){did_you_mean(name, _named(lines))}"
            )
    assert name is not None
    plain = name.partition(",")[0]
    better = higher.get(plain, may_be_bounded(name))
    scale = Scale.of(name, better)
    if len(set(documents)) < len(documents):
        raise UserError(
            f"{files[0][1]}: a document has several lines; give a metric with its filter by --metric, e.g. {name},none"
        )
    return DocumentScores(
        suite, "report", name, tuple(documents), tuple(map(scale.turn, values)), 0, {}, better
    )


def _usual(suite: str, lines: list[_Line], file: Path) -> str:
    """The suite's own metric where the lines have it, else their first."""
    named = _named(lines)
    if not named:
        raise UserError(f"{file}: no line has a metric that is a number for every document")
    own = load_suite(suite).metric_name if suite in suite_names() else ""
    return own if own in named else named[0]


def _named(lines: list[_Line]) -> list[str]:
    """Metrics with their filters, in the order in which they come."""
    return list(
        dict.fromkeys(f"{metric},{line.filter}" for line in lines for metric in line.metrics)
    )


def _lines(file: Path) -> Iterator[_Line]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found: dict[str, Any] = json.loads(line)
            metrics = {name: found[name] for name in found["metrics"]}
            document = f"{found['doc_id']}:{found.get('doc_hash', '')[:16]}"
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file}: line {number} is none of lm-eval's samples ({type(error).__name__}: {error}); give what "
                f"--log_samples writes"
            ) from None
        numbers = {n: float(v) for n, v in metrics.items() if isinstance(v, bool | int | float)}
        yield _Line(document, str(found.get("filter", "none")), numbers)


def _directions(folder: Path) -> dict[str, bool]:
    """Whether higher is better, by metric, as the results beside the samples say."""
    found: dict[str, bool] = {}
    for file in sorted(folder.rglob("results_*.json")):
        try:
            stated = json.loads(file.read_text(encoding="utf-8")).get("higher_is_better", {})
        except (OSError, ValueError, AttributeError):
            continue
        for metrics in stated.values():
            found |= {name: bool(higher) for name, higher in metrics.items() if higher is not None}
    return found
