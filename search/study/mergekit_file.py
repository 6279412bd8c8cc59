"""A mergekit configuration, read and checked: models, parameters, and what is said of the output.

What holds for mergekit 0.1.5: a source's parameters go before its slice's, these before the file's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exme.search.merging.sources import locate, read_json
from exme.tasks import UserError, did_you_mean, read_yaml

_LIMITS = "ExMe merges models of one shape, layer by layer: docs/limits.md"
_GENERAL = ("weight", "density", "normalize", "lambda", "rescale", "int8_mask")
# Parameters of each of mergekit's methods that a study can begin with.
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "linear": ("weight", "normalize"),
    "task_arithmetic": _GENERAL,
    "ties": _GENERAL,
    "dare_linear": _GENERAL,
    "dare_ties": _GENERAL,
    "della": (*_GENERAL, "epsilon"),
    "della_linear": (*_GENERAL, "epsilon"),
    "breadcrumbs": (*_GENERAL, "gamma"),
    "model_stock": ("filter_wise", "weight"),
    "slerp": ("t",),
}
# Those that have another name here; sums are searched with extrapolation.
OURS = {"linear": "exme", "task_arithmetic": "exme"}
# Why not the others.
_OTHERS = {
    "passthrough": f"stacks layers of several models; {_LIMITS}",
    "breadcrumbs_ties": "is not among ExMe's methods; breadcrumbs or ties are near",
    "nuslerp": "is not among ExMe's methods; slerp is near",
    "multislerp": "is not among ExMe's methods; slerp is near, of two models",
    "karcher": "is not among ExMe's methods; linear is near",
    "sce": "is not among ExMe's methods; ties is near",
}
_KEYS = (
    *("merge_method", "base_model", "models", "slices", "parameters", "dtype", "out_dtype"),
    *("tokenizer_source", "tokenizer", "chat_template", "random_seed"),
)


@dataclass(frozen=True)
class MergekitFile:
    """A configuration of one merge.

    Attributes:
        path: its file.
        method: mergekit's name.
        base: its base model; None where it names none.
        models: where each is, and its parameters, in order; the base may be among them.
        shared: parameters of all together.
        layers: of a whole slice, the number of layers that it has; None without slices.
        content: the file's other keys.
    """

    path: Path
    method: str
    base: str | None
    models: tuple[tuple[str, Mapping[str, Any]], ...]
    shared: Mapping[str, Any]
    layers: int | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """What a study takes from a mergekit configuration.

    Attributes:
        base: its base model; None where its method has none.
        checkpoints: the other models, by the names that the study gives them.
        method: of the study.
        point: coefficients by checkpoint and the method's own parameters; empty where the
            configuration says none that a study could begin with.
        settings: further keys of the study, e.g. ``sampler.seed``.
        tasks: suites; empty where it names none.
        told: what the study says otherwise than the file, a line each.
    """

    base: str | None
    checkpoints: Mapping[str, str]
    method: str
    point: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def read_content(path: Path) -> dict[str, Any]:
    """A file of mergekit's, whichever.

    Raises:
        UserError: it cannot be read, or is one of which no study can begin.
    """
    content = read_yaml(
        path, absent="no such mergekit configuration", what="a mergekit configuration"
    )
    found = mapping(path, content, "the file")
    if "experts" in found or "modules" in found:
        what = "mixtures of experts (mergekit-moe)" if "experts" in found else "`modules`"
        raise UserError(f"{path}: makes {what}, which no study can begin with; {_LIMITS}")
    return found


def read_file(path: Path, content: Mapping[str, Any]) -> MergekitFile:
    """A configuration of one merge.

    Args:
        path: its file, for errors.

    Raises:
        UserError: it says what a study cannot hold, or what mergekit does not know.
    """
    if "merge_method" not in content:
        raise UserError(
            f"{path}: not a mergekit configuration: it has no merge_method, nor genome and tasks (mergekit-evolve)"
        )
    method = check_method(path, content["merge_method"])
    check_known(path, content, _KEYS, "key")
    shared = mapping(path, content.get("parameters") or {}, "parameters")
    base, layers = content.get("base_model"), None
    if content.get("slices"):
        sources, layers, own, slice_base = _whole_slice(path, content["slices"])
        shared, base = {**shared, **own}, slice_base or base
    else:
        sources = sequence(path, content.get("models"), "models")
    check_known(path, shared, PARAMETERS[method], f"parameter of {method}")
    models = []
    for source in sources:
        entry = mapping(path, source, "a model")
        own = mapping(path, entry.get("parameters") or {}, "a model's parameters")
        check_known(path, own, PARAMETERS[method], f"parameter of {method}")
        models.append((where(path, entry.get("model")), {**shared, **own}))
    return MergekitFile(
        path, method, where(path, base) if base else None, tuple(models), shared, layers, content
    )


def check_method(path: Path, method: Any) -> str:
    """One of mergekit's methods with which a study can begin; a UserError else."""
    if method in PARAMETERS:
        return str(method)
    why = _OTHERS.get(str(method))
    told = (
        f"merge_method '{method}' {why}" if why else f"no merge_method '{method}' can begin a study"
    )
    near = "" if why else did_you_mean(str(method), PARAMETERS)
    raise UserError(f"{path}: {told} (those that can: {', '.join(PARAMETERS)}){near}")


def _whole_slice(path: Path, slices: Any) -> tuple[Sequence[Any], int, Mapping[str, Any], Any]:
    """Sources of a single slice over all layers, its number of layers, its parameters and its base."""
    every = sequence(path, slices, "slices")
    if len(every) > 1:
        raise UserError(
            f"{path}: has {len(every)} slices. Where they stack layers, {_LIMITS}. Where they give blocks of layers other "
            f"weights, name the models by --base and --checkpoint, and search over `groups: {{blocks: {len(every)}}}`"
        )
    (only,) = (mapping(path, each, "a slice") for each in every)
    sources = [mapping(path, s, "a source") for s in sequence(path, only.get("sources"), "sources")]
    ranges = [source.get("layer_range") for source in sources]
    first = ranges[0]
    if any(r != first for r in ranges) or not (
        isinstance(first, list) and len(first) == 2 and first[0] == 0 and isinstance(first[1], int)
    ):
        told = ", ".join(map(str, ranges))
        raise UserError(
            f"{path}: layer_range {told}: expected all layers of all models, [0, N]; other ranges stack layers, and {_LIMITS}"
        )
    own = mapping(path, only.get("parameters") or {}, "a slice's parameters")
    return sources, first[1], own, only.get("base_model")


def where(path: Path, model: Any) -> str:
    """A model as a study names it: mergekit takes a name, or its path and revision."""
    if isinstance(model, dict):
        found = model.get("model", model)
        inner = found if isinstance(found, dict) else {"path": found}
        if model.get("lora"):
            model = f"{inner.get('path', '')}+{model['lora']}"
        else:
            place, revision = str(inner.get("path", "")), inner.get("revision")
            model = f"{place}@{revision}" if revision else place
    if not isinstance(model, str) or not model:
        raise UserError(f"{path}: a model without a name; expected `model: owner/name` or a folder")
    if "+" in model:
        raise UserError(
            f"{path}: '{model}' adds a LoRA adapter to a model; give the adapter's folder as a "
            f"checkpoint instead"
        )
    return model


def number(path: Path, value: Any, what: str) -> float:
    """One number; a list of one and a condition without a filter are one, too."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and value.get("filter") in (None, "*"):
        value = value.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        filters = isinstance(value, list) and any(isinstance(v, dict) for v in value)
        groups = "{kinds: [attention, mlp]}" if filters else "{blocks: 4}"
        kind = "tensors" if filters else "layers"
        raise UserError(
            f"{path}: {what} is {value!r}, expected one number; for values by {kind} search over `groups: {groups}` "
            f"(docs/methods.md)"
        )
    return float(value)


def mapping(path: Path, value: Any, what: str) -> dict[str, Any]:
    """Keys and values; a UserError else."""
    if not isinstance(value, dict):
        raise UserError(f"{path}: {what}: expected keys and values, found {str(value)[:60]!r}")
    return {str(key): inner for key, inner in value.items()}


def sequence(path: Path, value: Any, what: str) -> list[Any]:
    """A list with something in it; a UserError else."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{path}: {what}: expected a list, found {str(value)[:60]!r}")
    return value


def check_known(path: Path, given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise UserError(
                f"{path}: '{name}' is no {what} (have: {', '.join(known)}){did_you_mean(name, known)}"
            )


def same(one: str, other: str | None) -> bool:
    """Whether two names mean one model: the same text, or the same folder."""
    if one == other or other is None:
        return one == other
    first, second = Path(one).expanduser(), Path(other).expanduser()
    return first.is_dir() and second.is_dir() and first.resolve() == second.resolve()


def layers_of(model: str) -> int | None:
    """Number of layers of a model, as its config.json says."""
    config = read_json(locate(model, who="base") / "config.json")
    found = config.get("num_hidden_layers")
    return found if isinstance(found, int) else None


def vocabulary(path: Path, source: Any, base: str | None, told: list[str]) -> dict[str, Any]:
    if source in (None, "base"):
        return {}
    if source == "union":
        told.append(
            "tokenizer_source union is `vocabulary: union`; mergekit's own union has not been compared."
        )
        return {"vocabulary": "union"}
    place = where(path, source)
    if not same(place, base):
        told.append(
            f"tokenizer_source {place} is left out: candidates are scored with the base's tokenizer."
        )
    return {}
