"""mergekit-evolve's file as the start of a study: its genome is a space, its tasks are suites."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exme.tasks import UserError, load_suite

from .init import name_checkpoints
from .mergekit_file import (
    OURS,
    Start,
    check_known,
    check_method,
    layers_of,
    mapping,
    number,
    same,
    sequence,
    vocabulary,
    where,
)

_GENOME = (
    *("models", "merge_method", "base_model", "tokenizer_source", "layer_granularity", "normalize"),
    *("allow_negative_weights", "filters", "smooth"),
)
_EVOLVE = (
    *("genome", "tasks", "limit", "num_fewshot", "shuffle", "random_init"),
    *("apply_chat_template", "fewshot_as_multiturn"),
)
# What a study has no key for, and what it does instead.
_LEFT_OUT = {
    "filters": "a study has blocks of layers or kinds of tensors (`groups`)",
    "normalize": "coefficients are searched as they are, their sum included",
    "smooth": "blocks of layers have coefficients of their own",
    "num_fewshot": "each suite says its own number of examples (docs/suites.md)",
    "shuffle": "documents are drawn by `documents.seed`",
    "random_init": "known points come first, then the study's sampler",
}


def of_evolve(path: Path, content: Mapping[str, Any], given_base: str | None) -> Start:
    """mergekit-evolve's file: its genome is a space, its tasks are suites."""
    check_known(path, content, _EVOLVE, "key of mergekit-evolve")
    genome = mapping(path, content["genome"], "genome")
    check_known(path, genome, _GENOME, "key of a genome")
    method = check_method(path, genome.get("merge_method"))
    base = where(path, genome["base_model"]) if genome.get("base_model") else given_base
    if method == "slerp":
        base = given_base
    places = [where(path, m) for m in sequence(path, genome.get("models"), "genome.models")]
    checkpoints = name_checkpoints([place for place in places if not same(place, base)])
    told: list[str] = []
    settings: dict[str, Any] = vocabulary(path, genome.get("tokenizer_source"), base, told)
    granularity = int(number(path, genome.get("layer_granularity") or 0, "layer_granularity"))
    layers = layers_of(base) if granularity > 0 and base is not None else None
    if layers and layers // granularity > 1:
        settings["groups"] = {"blocks": layers // granularity}
    if genome.get("allow_negative_weights"):
        settings["space.coefficients"] = [-1.0, 2.4]
    tasks, weights = _tasks(path, content.get("tasks"), told)
    if any(weight != 1 for weight in weights.values()):
        settings["weights"] = weights
    if content.get("limit") is not None:
        settings["documents.search"] = int(number(path, content["limit"], "limit"))
    for name in ("apply_chat_template", "fewshot_as_multiturn"):
        if name in content:
            settings[f"chat.{name}"] = bool(content[name])
    said = {**genome, **content}
    told += [
        f"{name} {said[name]} is left out: {why}."
        for name, why in _LEFT_OUT.items()
        if said.get(name) not in (None, False, [])
    ]
    if "apply_chat_template" not in content:
        told.append(
            "mergekit-evolve applies chat templates unless told otherwise, the study does not: see its `chat`."
        )
    ours = OURS.get(method, method)
    return Start(base, checkpoints, ours, {}, settings, tasks, tuple(told))


def _tasks(path: Path, tasks: Any, told: list[str]) -> tuple[tuple[str, ...], dict[str, float]]:
    """Suites and their weights."""
    weights: dict[str, float] = {}
    for each in sequence(path, tasks, "tasks"):
        task = {"name": each} if isinstance(each, str) else mapping(path, each, "a task")
        name = str(task.get("name", ""))
        try:
            suite = load_suite(name)
        except UserError as error:
            raise UserError(f"{path}: tasks: {error}") from None
        weights[suite.suite] = number(path, task.get("weight", 1.0), f"weight of {name}")
        asked, ours = str(task.get("metric", "acc,none")), suite.metric_name
        told += [f"{name}: mergekit-evolve goes by {asked}, the suite by {ours}."] * (asked != ours)
    return tuple(weights), weights
