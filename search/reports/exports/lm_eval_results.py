"""An export's scores as lm-eval writes them, for tools that read its results files.

The keys and their meaning are those of lm-eval 0.4.13's aggregated results (`EvaluationTracker`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from exme.evaluators import DocumentScores, Scores
from exme.evaluators.harness import task_headers
from exme.tasks import SuiteDocuments


def lm_eval_results(
    scores: Scores, documents: Sequence[SuiteDocuments], *, model: str, seed: int
) -> str:
    """Content of a results file.

    Args:
        scores: of the exported model, on one split or some documents of it.
        documents: the documents of each suite.
        model: what was scored, e.g. the export's name.
        seed: of the few-shot examples.
    """
    results: dict[str, dict[str, Any]] = {}
    samples: dict[str, dict[str, int]] = {}
    versions: dict[str, float | str] = {}
    shots: dict[str, int] = {}
    higher: dict[str, dict[str, bool]] = {}
    suites = {found.suite.suite: found for found in documents}
    for part in scores.parts:
        suite = suites[part.suite]
        for task, header in task_headers(suite.suite).items():
            here = {d.id for d in suite.of(part.split) if d.task == task}
            turn, pairs = part.scale.turn, zip(part.documents, part.values, strict=True)
            values = [turn(v) for d, v in pairs if d in here]
            if not values:
                continue
            metric = part.metric.partition(",")[0]
            named = {"name": task, "alias": header.alias, "sample_len": len(values)}
            results[task] = named | _means(part.metric, values)
            samples[task] = {"original": len(here), "effective": len(values)}
            versions[task] = header.version
            shots[task] = len(suite.fewshot.get(task, ()))
            higher[task] = {metric: part.higher_is_better}
    content = {
        "results": results,
        "group_subtasks": {},
        "versions": versions,
        "n-shot": shots,
        "higher_is_better": higher,
        "n-samples": samples,
        "config": {
            "model": "hf",
            "model_args": f"pretrained={model}",
            "batch_size": None,
            "limit": None,
            "random_seed": seed,
            "fewshot_seed": seed,
            "exme": f"scored by exme {metadata.version('exme')} on {scores.count} of its {scores.split} documents",
        },
        "model_source": "hf",
        "model_name": model,
        "model_name_sanitized": model.replace("/", "__"),
        "lm_eval_version": metadata.version("lm_eval"),
        "date": datetime.now(UTC).timestamp(),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _means(name: str, values: Sequence[float]) -> dict[str, float | str]:
    """A metric and its standard error, under the names that lm-eval gives them."""
    metric, _, kept = name.partition(",")
    return {
        f"{metric},{kept or 'none'}": sum(values) / len(values),
        f"{metric}_stderr,{kept or 'none'}": _standard_error(values),
    }


def _standard_error(values: Sequence[float]) -> float | str:
    """As lm-eval's ``mean_stderr``; ``N/A`` where it cannot say."""
    n = len(values)
    if n < 2:
        return "N/A"
    mean = sum(values) / n
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)


def model_index(name: str, parts: Sequence[DocumentScores]) -> list[dict[str, Any]]:
    """Scores as the hub's model cards state them (``model-index``).

    Args:
        name: of the model.
        parts: its scores on each suite.
    """
    return [
        {
            "name": name,
            "results": [
                {
                    "task": {"type": "text-generation", "name": "Text generation"},
                    "dataset": {
                        "type": part.suite,
                        "name": f"{part.suite} ({part.count} {part.split} documents)",
                        "split": part.split,
                    },
                    "metrics": [
                        {
                            "type": part.metric.partition(",")[0],
                            "name": part.metric,
                            "value": round(part.scale.turn(part.mean), 6),
                        }
                    ],
                }
                for part in parts
            ],
        }
    ]
