"""Whether a suite's metric is one that candidates can be compared by, and which way it is better."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.registry import AGGREGATION_REGISTRY

from exme.tasks import Suite, UserError, did_you_mean, one_line

# Values whose mean no other usual aggregation gives: no median, root of a square, sum, or share; nor a mean of
# what is left when the outermost are taken out, or clipped.
_PROBES = (
    [0.0, 1.0, 1.0, 0.0, 1.0],
    [0.25, 0.5, 1.0, 0.125],
    [-7.0, 1.5, 2000.0, *(0.01 * i * i for i in range(200))],
)
# Metrics of which less is better, by what their names hold.
_LESS = re.compile(
    r"(^|[_\W])(err(ors?)?|loss|nll|ppl|perplexity|[wct]er|r?mse|mae|ece|brier(_score)?|distance|latency|toxicity"
    r"|hallucinations?|bits_per_byte|bpb)($|[_\W])",
    re.IGNORECASE,
)
_ROLLING = "loglikelihood_rolling"


def check_metric(suite: Suite, task: Any) -> None:
    """Refuse a metric that is no mean over documents, or a filter that is not there.

    Raises:
        UserError: names both, and what there is.
    """
    name = task.config.task
    means = [m for m, put in task.aggregation().items() if isinstance(m, str) and _is_mean(put)]
    have = f"have: {', '.join(means)}" if means else "it has none that is"
    if task.OUTPUT_TYPE == _ROLLING:
        raise UserError(
            f"suite '{suite.suite}': lm-eval task '{name}' asks for rolling log-likelihoods (output_type "
            f"{_ROLLING}), whose '{suite.metric}' is one number over all documents; candidates are compared "
            f"document by document: give a task with a metric for each"
        )
    put = task.aggregation().get(suite.metric)
    if put == AGGREGATION_REGISTRY["nanmean"]:
        raise UserError(
            f"suite '{suite.suite}': metric '{suite.metric}' of lm-eval task '{name}' has documents without a score "
            f"(aggregation nanmean); candidates are compared on the same documents: give a metric that scores each ({have})"
        )
    if put is not None and not _is_mean(put):
        raise UserError(
            f"suite '{suite.suite}': metric '{suite.metric}' of lm-eval task '{name}' is computed over all "
            f"documents together (aggregation {_name(put)}); candidates are compared document by "
            f"document: give a metric that is a mean over them ({have})"
        )
    filters = [f.name for f in task._filters]
    if suite.filter not in filters:
        raise UserError(
            f"suite '{suite.suite}': lm-eval task '{name}' has no filter '{suite.filter}' "
            f"(have: {', '.join(filters)}){did_you_mean(suite.filter, filters)}"
        )


def higher_is_better(suite: Suite, task: Any) -> bool:
    """The direction of a suite's metric, as the task states it, else the suite, else upwards.

    Raises:
        UserError: the two differ, or none states it of a metric whose name sounds as if lower were better.
    """
    stated: bool | None = task.higher_is_better().get(suite.metric)
    if stated is None:
        if suite.higher_is_better is None and _LESS.search(suite.metric):
            raise UserError(
                f"suite '{suite.suite}': neither it nor lm-eval task '{task.config.task}' says whether '{suite.metric}' is "
                f"better when higher or lower; write `higher_is_better: false`, or true, into the suite's file"
            )
        return suite.higher_is_better is not False
    if suite.higher_is_better not in (None, bool(stated)):
        raise UserError(
            f"suite '{suite.suite}': higher_is_better is {str(suite.higher_is_better).lower()}, and lm-eval "
            f"task '{task.config.task}' says {str(bool(stated)).lower()} of '{suite.metric}'; leave it out"
        )
    return bool(stated)


def agreed(suite: Suite, directions: Mapping[str, bool]) -> bool:
    """The one direction of a suite's lm-eval tasks.

    Raises:
        UserError: they differ.
    """
    if len(set(directions.values())) > 1:
        up, down = (next(n for n, v in directions.items() if v is way) for way in (True, False))
        raise UserError(
            f"suite '{suite.suite}': higher '{suite.metric}' is better in lm-eval task '{up}', and worse in "
            f"'{down}'; put them into suites of their own"
        )
    return next(iter(directions.values()), True)


def try_metric(suite: Suite, task: Any, requests: Sequence[Instance]) -> None:
    """Score made-up answers to one document, to see what the metric gives; leaves no trace.

    A task of the user's may raise on such answers; then nothing is known before a model has answered.

    Raises:
        UserError: there is no such metric, or it gives no number.
    """
    if suite.runs_code:
        return
    try:
        (filtered,) = _made_up(suite, task, [requests])
        found = task.process_results(requests[0].doc, filtered)
    except Exception:  # noqa: BLE001  (functions of the user's, on answers that no model gave)
        return
    metric_value(suite, task, found)


def try_documents(suite: Suite, task: Any, asked: Mapping[str, Sequence[Instance]]) -> None:
    """Score made-up answers to all documents of a task of the user's, to see whether some cannot be scored at all.

    Args:
        suite: the suite.
        task: the lm-eval task of all of them.
        asked: requests by identifier of the document.

    Raises:
        UserError: names the first, and how many there are.
    """
    if suite.runs_code or suite.lm_eval_folder is None:
        return  # (lm-eval's own tasks score their data; math's takes a minute for all)
    broken = _broken(suite, task, asked, 0)
    found = _broken(suite, task, {name: asked[name] for name in broken}, 1) if broken else {}
    if found and len(found) < len(asked) / 2:  # (where most break, the answers may be at fault)
        name, reason = next(iter(found.items()))
        others = f", and on {len(found) - 1} more" if len(found) > 1 else ""
        raise UserError(
            f"suite '{suite.suite}': the metric of lm-eval task '{task.config.task}' raises {reason} on document {name}"
            f"{others}, whatever is answered; correct these rows or take them out"
        )


def _broken(
    suite: Suite, task: Any, asked: Mapping[str, Sequence[Instance]], kind: int
) -> dict[str, str]:
    """What the metric raised, by document; nothing where the filters did."""
    found: dict[str, str] = {}
    try:
        answers = _made_up(suite, task, list(asked.values()), kind)
    except Exception:  # noqa: BLE001  (functions of the user's)
        return found
    for (name, requests), filtered in zip(asked.items(), answers, strict=True):
        try:
            task.process_results(requests[0].doc, filtered)
        except Exception as error:  # noqa: BLE001  (as above)
            found[name] = f"{type(error).__name__} ({one_line(str(error), 200)})"
    return found


def _made_up(
    suite: Suite, task: Any, asked: Sequence[Sequence[Instance]], kind: int = 0
) -> list[list[Any]]:
    """Answers that no model gave, as the suite's filter reads them, by document; leaves no trace."""
    every = [request for requests in asked for request in requests]
    for request in every:
        likelihoods = (-1.0 - request.idx, request.idx == 0), (-99.0 + request.idx, False)
        generates = request.request_type == "generate_until"
        answer = ("1", "no")[kind] if generates else likelihoods[kind]
        request.resps, request.filtered_resps = [answer] * (request.repeats or 1), {}
    try:
        task._instances = every
        task.apply_filters()
        return [[r.filtered_resps[suite.filter] for r in requests] for requests in asked]
    finally:
        for request in every:
            request.resps, request.filtered_resps = [], {}


def apply_filters(suite: Suite, task: Any, requests: Sequence[Instance]) -> None:
    """Have the task's filters read the answers to some of its requests.

    Raises:
        ValueError: one raised, e.g. for it takes more answers than the task asks for.
    """
    task._instances = requests  # what `apply_filters` goes over
    try:
        task.apply_filters()
    except Exception as error:
        raise ValueError(
            f"suite '{suite.suite}': a filter of lm-eval task '{task.config.task}' raised {type(error).__name__}: {error}"
        ) from error


def metric_of(suite: Suite, task: Any, row: Any, filtered: Sequence[Any], identifier: str) -> float:
    """The suite's metric of one document.

    Args:
        row: the document, as the task has it.

    Raises:
        ValueError: the metric raised; names the document.
        UserError: it is not there, or no number.
    """
    try:
        found = task.process_results(row, filtered)
    except Exception as error:
        raise ValueError(
            f"suite '{suite.suite}': the metric raised {type(error).__name__} on document "
            f"{identifier}: {error}"
        ) from error
    return metric_value(suite, task, found)


def metric_value(suite: Suite, task: Any, found: Mapping[str, Any]) -> float:
    """The suite's metric among those of one document.

    Raises:
        UserError: it is not there, or no number.
    """
    name = task.config.task
    if suite.metric not in found:
        raise UserError(
            f"suite '{suite.suite}': lm-eval task '{name}' has no metric '{suite.metric}' "
            f"(have: {', '.join(found)}){did_you_mean(suite.metric, found)}"
        )
    value = found[suite.metric]
    if not isinstance(value, Real) and getattr(value, "ndim", None) != 0:
        numbers = ", ".join(m for m, v in found.items() if isinstance(v, Real))
        raise UserError(
            f"suite '{suite.suite}': metric '{suite.metric}' of lm-eval task '{name}' gives a "
            f"{type(value).__name__} for a document, not a number; give a metric that does "
            f"({f'have: {numbers}' if numbers else 'it has none'})"
        )
    return float(value)


def _is_mean(put: Callable[..., Any]) -> bool:
    """Whether an aggregation is the mean, by its name or, of one of the user's, by what it gives."""
    if put == AGGREGATION_REGISTRY["mean"]:
        return True
    if put in AGGREGATION_REGISTRY.values():
        return False
    try:
        return all(math.isclose(put(list(p)), sum(p) / len(p), abs_tol=1e-12) for p in _PROBES)
    except Exception:  # noqa: BLE001  (a function of the user's)
        return False


def _name(put: Callable[..., Any]) -> str:
    known = {fn: name for name, fn in AGGREGATION_REGISTRY.items()}
    return str(known.get(put) or getattr(put, "__name__", "of its own"))
