"""A mergekit configuration as the start of a study: its models, its method and its point.

Only what a study can hold: one coefficient a model. Gradients over layers and filters by name are refused, for a search over
groups says the same better (docs/methods.md). What a study says otherwise than the file is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exme.search.merging.methods import METHODS
from exme.tasks import UserError

from .from_evolve import of_evolve
from .init import name_checkpoints
from .mergekit_file import (
    OURS,
    MergekitFile,
    Start,
    layers_of,
    mapping,
    number,
    read_content,
    read_file,
    same,
    vocabulary,
)

_OWN = ("density", "gamma", "epsilon")  # parameters that ours have by the same names
# What mergekit 0.1.5 takes where a configuration is silent, and ours does not.
_DEFAULTS = {
    "breadcrumbs": {"gamma": 0.01},
    "della": {"epsilon": 0.15},
    "della_linear": {"epsilon": 0.15},
}
_NORMALISED = ("linear", "ties", "della")
_RESCALED = ("dare_linear", "dare_ties", "della", "della_linear")
_DTYPES = ("float32", "bfloat16", "float16")


def read_mergekit(path: Path, given_base: str | None = None) -> Start:
    """Read a configuration of mergekit's or mergekit-evolve's.

    Args:
        given_base: the base, where its method has none.

    Raises:
        UserError: it cannot be read, or says what a study cannot hold.
    """
    content = read_content(path)
    if "genome" in content:
        return of_evolve(path, content, given_base)
    file = read_file(path, content)
    if file.method == "slerp":
        return _of_slerp(file, given_base)
    base = file.base or given_base
    if file.layers is not None:
        _check_layers(file, base or file.models[0][0])
    others = [(place, own) for place, own in file.models if not same(place, base)]
    checkpoints = name_checkpoints([place for place, _ in others])
    of_base = [own for place, own in file.models if same(place, base)]
    told: list[str] = []
    point = _point(file, list(checkpoints), [own for _, own in others], of_base, told)
    settings = _settings(file, told)
    method = OURS.get(file.method, file.method)
    return Start(base, checkpoints, method, point, settings, (), tuple(told))


def _check_layers(file: MergekitFile, model: str) -> None:
    """Refuse a slice that is not all of a model."""
    found = layers_of(model)
    if found is not None and found != file.layers:
        raise UserError(
            f"{file.path}: layer_range [0, {file.layers}] is not all of {model}, which has {found} layers; ExMe merges whole "
            f"models: docs/limits.md"
        )


def _point(
    file: MergekitFile,
    names: list[str],
    parameters: Sequence[Mapping[str, Any]],
    of_base: Sequence[Mapping[str, Any]],
    told: list[str],
) -> dict[str, float]:
    """The merge that a configuration asks for, in our coefficients and parameters.

    Args:
        file: the configuration.
        parameters: of each.
        of_base: of the base, where it is among the models: a mean counts it, task vectors do not.
        told: lines are added to it.
    """
    path, method, shared = file.path, file.method, file.shared
    if method == "model_stock":
        if shared.get("filter_wise"):
            raise UserError(
                f"{path}: filter_wise: true takes angles row by row, which ExMe's model_stock does not"
            )
        if any("weight" in p for p in parameters):
            told.append("weight has no part in model_stock, and is left out.")
        return {}
    weights = [number(path, p.get("weight", 1.0), "weight") for p in parameters]
    scale = number(path, shared.get("lambda", 1.0), "lambda")
    total = sum(weights)
    if method == "linear":
        total += sum(number(path, p.get("weight", 0.0), "weight") for p in of_base)
    if _switch(file, "normalize", method in _NORMALISED):  # mergekit divides by their sum
        if not total:
            raise UserError(f"{path}: the weights add up to zero and are to be normalised")
        scale /= total
        if abs(total - 1) > 1e-6:
            pairs = zip(names, weights, strict=True)
            shown = ", ".join(f"{name} {w:g} is {w / total:.4g}" for name, w in pairs)
            told.append(
                f"mergekit divides the weights of {method} by their sum, {total:g}: {shown}."
            )
    elif method == "linear" and abs(total - 1) > 1e-6:
        raise UserError(
            f"{path}: linear without normalize scales the models, for its weights add up to {total:g}: no sum of task "
            f"vectors does that; set `normalize: true`, or weights that add up to 1"
        )
    point = {name: round(scale * w, 6) for name, w in zip(names, weights, strict=True)}
    return point | _own_parameters(file, parameters, told)


def _own_parameters(
    file: MergekitFile, parameters: Sequence[Mapping[str, Any]], told: list[str]
) -> dict[str, float]:
    """The method's own parameters, one value for all models."""
    path, method, found = file.path, file.method, {}
    ours = {p.name for p in METHODS[OURS.get(method, method)].own}
    for own in _OWN:
        default = _DEFAULTS.get(method, {}).get(own)
        given = [p.get(own, default) for p in parameters if p.get(own, default) is not None]
        values = {number(path, value, own) for value in given}
        if own not in ours and values:
            told.append(f"{own} has no part in {method}, and is left out.")
        elif len(values) > 1:
            raise UserError(
                f"{path}: {own} differs between models ({', '.join(f'{v:g}' for v in sorted(values))}); a study has one for "
                f"all: give them one, and the search finds which"
            )
        elif values:
            found[own] = values.pop()
    return found


def _of_slerp(file: MergekitFile, given_base: str | None) -> Start:
    """SLERP's own base is one of its two ends; ours needs the base of both."""
    path = file.path
    places = list(
        dict.fromkeys([*([file.base] if file.base else []), *(p for p, _ in file.models)])
    )
    if file.base is None or len(places) != 2:
        raise UserError(
            f"{path}: slerp goes from its base_model to one other model, found {', '.join(places)}"
        )
    if given_base is None:
        raise UserError(
            f"{path}: slerp's base_model is one of the two that it merges; give the model that both were fine-tuned from "
            f"with --base"
        )
    given = {repr(own["t"]): own["t"] for _, own in file.models if "t" in own} or {
        "": file.shared.get("t")
    }
    if len(given) != 1 or next(iter(given.values())) is None:
        raise UserError(f"{path}: slerp takes one t, e.g. `parameters: {{t: 0.5}}`")
    t = number(path, next(iter(given.values())), "t")
    if file.layers is not None:
        _check_layers(file, places[0])
    told = [
        "mergekit's slerp turns weights about the origin, ExMe's task vectors about the base: near, not the same."
    ]
    ends = [place for place in places if not same(place, given_base)]
    checkpoints = name_checkpoints(ends)
    shares = dict(zip(places, (1 - t, t), strict=True))
    point = {name: round(shares[place], 6) for name, place in checkpoints.items()}
    method = "slerp" if len(ends) == 2 else "expo"
    settings = _settings(file, told)
    return Start(given_base, checkpoints, method, point, settings, (), tuple(told))


def _settings(file: MergekitFile, told: list[str]) -> dict[str, Any]:
    """Keys of the study that a configuration decides beside its point."""
    content, path = file.content, file.path
    found: dict[str, Any] = {}
    dtype = content.get("out_dtype") or content.get("dtype")
    if dtype:
        if dtype not in _DTYPES:
            raise UserError(f"{path}: dtype '{dtype}', expected one of {', '.join(_DTYPES)}")
        found["dtype"] = dtype
    tokenizer = content.get("tokenizer")
    source = content.get("tokenizer_source")
    if tokenizer is not None:
        source = mapping(path, tokenizer, "tokenizer").get("source", "union")
        left = sorted(set(tokenizer) - {"source"})
        if left:
            told.append(
                f"tokenizer: {', '.join(left)} left out; what ExMe does is in docs/methods.md."
            )
    found |= vocabulary(path, source, file.base, told)
    if content.get("random_seed") is not None:
        found["sampler.seed"] = int(number(path, content["random_seed"], "random_seed"))
        told.append(
            "random_seed is the study's sampler.seed; ExMe's random numbers are others than mergekit's."
        )
    if content.get("chat_template"):
        told.append(
            "chat_template is left out: an export has the base's, or the first checkpoint's that has one."
        )
    if _switch(file, "int8_mask", False):
        told.append("int8_mask is left out: it saves mergekit memory.")
    rescales = file.method in _RESCALED
    if _switch(file, "rescale", rescales) != rescales:
        raise UserError(
            f"{path}: rescale: {str(not rescales).lower()} is not what ExMe's {file.method} does (docs/methods.md); leave it out"
        )
    return found


def _switch(file: MergekitFile, name: str, default: bool) -> bool:
    value = file.shared.get(name, default)
    if not isinstance(value, bool):
        raise UserError(f"{file.path}: {name} is {value!r}, expected true or false")
    return value
