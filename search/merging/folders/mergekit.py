"""A candidate as a mergekit configuration, where mergekit can express it; why not, where it cannot.

The file is valid YAML either way: a candidate that mergekit cannot make has comments only.

Checked against mergekit 0.1.5: `tests/search/merging/methods/test_mergekit.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from exme.search.merging import Candidate
from exme.search.merging.methods import METHODS, PLAIN
from exme.search.merging.sources import made_by

# Ours, and what mergekit calls it; plain sums are its task arithmetic.
_NAMES = {
    **dict.fromkeys(PLAIN, "task_arithmetic"),
    "ties": "ties",
    "breadcrumbs": "breadcrumbs",
    "model_stock": "model_stock",
}


def obstacle(candidate: Candidate) -> str:
    """Why mergekit cannot make a candidate; empty where it can."""
    return next((why for fails, why in _obstacles(candidate) if fails), "")


def _obstacles(candidate: Candidate) -> list[tuple[bool, str]]:
    method, title = candidate.method, METHODS[candidate.method].title
    values = [c for c in candidate.coefficients.values() if c]
    alike = len(values) > 1 and all(abs(c - 1 / len(values)) < 1e-3 for c in values)
    is_stock = method == "model_stock"
    made = (name for name, c in candidate.coefficients.items() if c)
    direction = next((n for n in made if made_by(candidate.sources.get(n, ""))), "")
    return [
        (
            bool(direction),
            f"'{direction}' is a direction that ExMe computed, of which there is no checkpoint",
        ),
        (
            METHODS[method].is_random,
            f"it has other random numbers for {title}, and rescales deltas by sums of magnitudes",
        ),
        (
            method == "slerp",
            "mergekit interpolates weights about the origin, ExMe task vectors about the base",
        ),
        (method not in _NAMES, f"it is not known to have {title}"),
        (
            "vocabulary" in candidate.sources,
            "its vocabularies are merged, and mergekit's own union of them has not been compared",
        ),
        (
            bool(candidate.grouped),
            "it has coefficients by groups of tensors, and mergekit's filters are parts of names",
        ),
        (
            method == "ties" and any(c < 0 for c in values),
            "with a negative coefficient its TIES divides by a sum of weights that may vanish",
        ),
        (
            is_stock and candidate.parameters.get("stock") != 1.0,
            "it has Model Stock's whole ratio only",
        ),
        (is_stock and not alike, "its Model Stock weighs all checkpoints alike"),
    ]


def mergekit_config(candidate: Candidate, names: Mapping[str, str]) -> str:
    """The same merge for mergekit, equal up to rounding; or a comment that says why there is none.

    Args:
        names: where base and checkpoints are, by name.
    """
    reason = obstacle(candidate)
    if reason:
        return f"# mergekit cannot make this merge: {reason}.\n# `exme materialise exme_recipe.json` can.\n"
    own = dict(candidate.parameters)
    weights = {n: c for n, c in candidate.coefficients.items() if c or candidate.method in PLAIN}
    shared: dict[str, Any] = {"normalize": False, "lambda": 1.0}
    if candidate.method == "ties":
        # base + lambda * mean: our coefficients add up to lambda.
        shared = {"normalize": True, "lambda": sum(weights.values())}
    if candidate.method == "model_stock":
        own, shared = {}, {}
    models = [
        {"model": names[name], "parameters": {"weight": c, **own}} for name, c in weights.items()
    ]
    if candidate.method == "model_stock":
        models = [{"model": model["model"]} for model in models]
    content: dict[str, Any] = {
        "merge_method": _NAMES[candidate.method],
        "base_model": names["base"],
        "models": models,
        "parameters": shared,
        "dtype": "float32",
        "out_dtype": candidate.dtype,
        "tokenizer_source": "base",
    }
    note = ""
    if any(name.startswith("mini/") for name in names.values()):
        note = (
            "# mini/<name> ships with exme, in exme/tasks/mini/models/<name>: give that folder.\n"
        )
    return note + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
