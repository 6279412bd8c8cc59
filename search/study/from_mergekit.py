"""A mergekit configuration as the start of a study: its models, its method and its point.

Only what a study can hold: one coefficient a model. Gradients over layers, slices and filters by name are
refused, for a search over groups says the same better (docs/methods.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from exme.tasks import UserError, did_you_mean

from .init import name_checkpoints

# mergekit's methods, and ours that can make the same merge; sums are searched with extrapolation.
METHODS_OF_MERGEKIT = {
    "linear": "exme",
    "task_arithmetic": "exme",
    "ties": "ties",
    "dare_linear": "dare_linear",
    "dare_ties": "dare_ties",
    "della": "della",
    "breadcrumbs": "breadcrumbs",
    "model_stock": "model_stock",
}
_OWN = ("density", "gamma", "epsilon")  # parameters that ours have by the same names
# What mergekit 0.1.5 takes where a configuration is silent, and ours does not.
_DEFAULTS = {"breadcrumbs": {"gamma": 0.01}, "della": {"epsilon": 0.15}}
_NORMALISED = ("linear", "ties", "della")


@dataclass(frozen=True)
class Start:
    """What a study takes from a mergekit configuration.

    Attributes:
        base: its base model; None where its method has none.
        checkpoints: the other models, by the names that the study gives them.
        method: of the study.
        point: coefficients by checkpoint and the method's own parameters; empty where the
            configuration says none that a study could begin with.
    """

    base: str | None
    checkpoints: Mapping[str, str]
    method: str
    point: Mapping[str, float]


def read_mergekit(path: Path, given_base: str | None = None) -> Start:
    """Read a configuration.

    Args:
        path: its file.
        given_base: the base, where its method has none.

    Raises:
        UserError: it cannot be read, or says what a study cannot hold.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such mergekit configuration") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict) or "merge_method" not in content:
        raise UserError(f"{path}: not a mergekit configuration: it has no merge_method")
    method = str(content["merge_method"])
    if method not in METHODS_OF_MERGEKIT:
        have = ", ".join(METHODS_OF_MERGEKIT)
        raise UserError(
            f"{path}: merge_method '{method}' cannot begin a study (those that can: {have})"
            f"{did_you_mean(method, METHODS_OF_MERGEKIT)}"
        )
    if "models" not in content:
        raise UserError(
            f"{path}: expected `models`, one coefficient each, found slices; name base and "
            f"checkpoints by --base and --checkpoint, and search over `groups: {{blocks: N}}`"
        )
    base = _where(path, content["base_model"]) if content.get("base_model") else given_base
    shared = content.get("parameters") or {}
    every = [
        (_where(path, m.get("model")), {**shared, **(m.get("parameters") or {})})
        for m in content["models"]
    ]
    others = [(where, own) for where, own in every if where != base]
    checkpoints = name_checkpoints([where for where, _ in others])
    of_base = [own for where, own in every if where == base]
    return Start(
        base,
        checkpoints,
        METHODS_OF_MERGEKIT[method],
        _point(path, method, list(checkpoints), [own for _, own in others], of_base, shared),
    )


def _where(path: Path, model: Any) -> str:
    """A model as a study names it: mergekit takes a name, or its path and revision."""
    if isinstance(model, dict):
        found = model.get("model", model)
        inner = found if isinstance(found, dict) else {"path": found}
        place, revision = str(inner.get("path", "")), inner.get("revision")
        return f"{place}@{revision}" if revision else place
    if not isinstance(model, str) or not model:
        raise UserError(f"{path}: a model without a name; expected `model: owner/name` or a folder")
    if "+" in model:
        raise UserError(
            f"{path}: '{model}' adds a LoRA adapter to a model; give the adapter's folder as a "
            f"checkpoint instead"
        )
    return model


def _point(
    path: Path,
    method: str,
    names: list[str],
    parameters: list[dict[str, Any]],
    of_base: list[dict[str, Any]],
    shared: Mapping[str, Any],
) -> dict[str, float]:
    """The merge that a configuration asks for, in our coefficients and parameters.

    Args:
        path: of the configuration, for errors.
        method: mergekit's name of it.
        names: of the checkpoints.
        parameters: of each.
        of_base: of the base, where it is among the models: a mean counts it, task vectors do not.
        shared: of all models together.
    """
    if method == "model_stock":
        return {}
    weights = [_number(path, p.get("weight", 1.0), "weight") for p in parameters]
    scale = _number(path, shared.get("lambda", 1.0), "lambda")
    total = sum(weights)
    if method == "linear":
        total += sum(_number(path, p.get("weight", 0.0), "weight") for p in of_base)
    if shared.get("normalize", method in _NORMALISED):  # mergekit divides by their sum
        if not total:
            raise UserError(f"{path}: the weights add up to zero and are to be normalised")
        scale /= total
    elif method == "linear" and abs(total - 1) > 1e-6:
        raise UserError(
            f"{path}: linear without normalize scales the models, for its weights add up to {total:g}: no sum of task "
            f"vectors does that; set `normalize: true`, or weights that add up to 1"
        )
    point = {name: round(scale * w, 6) for name, w in zip(names, weights, strict=True)}
    for own in _OWN:
        default = _DEFAULTS.get(method, {}).get(own)
        given = [p.get(own, default) for p in parameters if p.get(own, default) is not None]
        values = {_number(path, value, own) for value in given}
        if len(values) > 1:
            raise UserError(f"{path}: {own} differs between models; a study has one for all")
        if values and METHODS_OF_MERGEKIT[method] != "exme":
            point[own] = values.pop()
    return point


def _number(path: Path, value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(
            f"{path}: {what} is {value!r}, expected one number; for values by layer search over "
            f"`groups` instead (docs/methods.md)"
        )
    return float(value)
