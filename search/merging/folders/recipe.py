"""Recipes: all that it takes to make a candidate again, without its study.

`exme export` and `exme materialise` write ``exme_recipe.json`` beside the weights. A recipe by hand
needs less: the candidate's ``coefficients``, ``dtype`` and ``method``, and where the models are:

    candidate: {method: ties, parameters: {density: 0.2}, dtype: bfloat16,
                coefficients: {math: 0.5, code: 0.5}}
    sources: {base: {model: org/base}, math: {model: org/math}, code: {model: ./code}}

and ``vocabulary: union`` where checkpoints have other tokens than the base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from exme.search.merging import Candidate
from exme.search.merging.methods import METHODS
from exme.search.merging.sources import (
    MINI,
    VOCABULARY,
    Checkpoint,
    Sources,
    is_hub_id,
    locate,
    open_checkpoint,
    public_names,
)
from exme.tasks import UserError, did_you_mean, read_yaml

from .model_folder import SHARD_BYTES, ExportResult, chat_template, export_model
from .staging import RECIPE


@dataclass(frozen=True)
class Recipe:
    """A recipe as its file states it.

    Attributes:
        candidate: what to make; its fingerprints may be missing.
        models: where base and checkpoints are, by name.
        union: whether vocabularies are merged by token string.
        weights_digest: of the weights that it made before; empty where nobody knows.
    """

    candidate: Candidate
    models: Mapping[str, str]
    union: bool = False
    weights_digest: str = ""


def read_recipe(path: Path) -> Recipe:
    """Read a recipe: a JSON or YAML file, or the folder of an export.

    Raises:
        UserError: not there, or not a recipe.
    """
    file = path / RECIPE if _is_folder(path) else path
    content = read_yaml(file, absent=f"no such recipe; give an {RECIPE} or an export's folder")
    try:
        given: dict[str, Any] = dict(content["candidate"])
        models = {str(name): str(source["model"]) for name, source in content["sources"].items()}
        known = {n: s["sha256"] for n, s in content["sources"].items() if "sha256" in s}
        given = {"method": "exme", "sources": known, **given}
        if "grouped" in given:
            given.setdefault("coefficients", {})
        candidate = Candidate.from_json(given)
        _check_types(candidate)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{file}: not a recipe ({type(error).__name__}: {error}); expected candidate "
            f"(coefficients, method, dtype) and sources (model by name)"
        ) from None
    _check(file, candidate, models)
    union = VOCABULARY in candidate.sources or content.get(VOCABULARY) == "union"
    return Recipe(candidate, models, union, str(content.get("weights_digest", "")))


def _check_types(candidate: Candidate) -> None:
    """What `Candidate` takes on trust; raises a TypeError or a ValueError."""
    for name in ("method", "dtype"):
        if not isinstance(getattr(candidate, name), str):
            raise TypeError(f"{name} is {getattr(candidate, name)!r}, not a text")
    names = list(candidate.coefficients)
    if not names:
        raise ValueError("there are no coefficients")
    for label, values in candidate.grouped.items():
        if list(values) != names:
            raise ValueError(
                f"group '{label}' has coefficients of other checkpoints than the first"
            )
    for name, fingerprint in dict(candidate.sources).items():
        if not isinstance(fingerprint, str):
            raise TypeError(f"the fingerprint of '{name}' is {fingerprint!r}, not a text")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # e.g. a name that is too long
        return False


def _check(file: Path, candidate: Candidate, models: Mapping[str, str]) -> None:
    if candidate.method not in METHODS:
        raise UserError(
            f"{file}: no method '{candidate.method}' (have: {', '.join(METHODS)})"
            f"{did_you_mean(candidate.method, METHODS)}"
        )
    expected = {parameter.name for parameter in METHODS[candidate.method].own}
    if set(candidate.parameters) != expected:
        raise UserError(
            f"{file}: method '{candidate.method}' has parameters "
            f"{', '.join(sorted(expected)) or 'none'}, the recipe gives "
            f"{', '.join(sorted(candidate.parameters)) or 'none'}"
        )
    for name in ("base", *candidate.coefficients):
        if name not in models:
            raise UserError(
                f"{file}: '{name}' is not in sources (have: {', '.join(models)})"
                f"{did_you_mean(name, models)}"
            )
    if candidate.dtype not in ("float32", "bfloat16", "float16"):
        raise UserError(f"{file}: dtype '{candidate.dtype}', expected float32, bfloat16 or float16")


def materialise(
    path: Path,
    out: Path,
    *,
    force: bool = False,
    max_shard_bytes: int = SHARD_BYTES,
    within: Sequence[Path] | None = None,
) -> ExportResult:
    """Make a recipe's candidate as a folder for `from_pretrained`, in memory bounded by a shard.

    Args:
        out: the folder; it must not exist, be empty or, with `force`, be an earlier export.
        force: replace an earlier export, once the new one is complete.
        max_shard_bytes: largest weight file.
        within: folders in which the recipe's folders must lie, links followed; None is anywhere. A model that the
            recipe only names, ``./gsm``, is looked for in each.

    Raises:
        UserError: the recipe or a source cannot be used, a source is not the one that the recipe
            names, the folder is taken, or what is read back is not what the recipe made before.
    """
    wanted = read_recipe(path)
    out = out.expanduser().resolve()
    models = {name: _found(model, within or ()) for name, model in wanted.models.items()}
    _check_places(path, models, within)
    base = Checkpoint("base", locate(models["base"], who="base"))
    checkpoints = {
        name: open_checkpoint(name, locate(models[name], who=f"checkpoint '{name}'"), base)
        for name in wanted.candidate.coefficients
    }
    sources = Sources(base, checkpoints, union=wanted.union)
    candidate = _with_fingerprints(path, wanted.candidate, sources)
    names = public_names(wanted.models)
    try:
        return export_model(
            sources,
            candidate,
            out,
            card=short_card(candidate, names, sources),
            names=names,
            force=force,
            loads=False,
            made_before=wanted.weights_digest,
            max_shard_bytes=max_shard_bytes,
        )
    except FloatingPointError as error:
        raise UserError(f"{path}: {error}; nothing was written") from None


def _found(model: str, within: Sequence[Path]) -> str:
    """A folder that a recipe only names (`public_names`), in the first of these that has it."""
    if not model.startswith("./") or Path(model).is_dir():
        return model
    places = (folder.expanduser() / model for folder in within)
    return next((str(place) for place in places if place.is_dir()), model)


def _check_places(path: Path, models: Mapping[str, str], within: Sequence[Path] | None) -> None:
    """Refuse folders elsewhere: a recipe may be a stranger's, and a model's files are copied."""
    if within is None:
        return
    allowed = [folder.expanduser().resolve() for folder in within]
    for name, model in models.items():
        try:
            if model.startswith(MINI) or is_hub_id(model):
                continue
            place = Path(model).expanduser().resolve()
        except (OSError, ValueError, RuntimeError):
            continue  # `locate` says what is wrong with it
        if not any(place.is_relative_to(folder) for folder in allowed):
            raise UserError(
                f"{path}: '{name}' is {model}, which lies outside of {' and '.join(map(str, allowed))}"
                f"; if you trust the recipe, allow the folder with --models"
            )


def _with_fingerprints(path: Path, candidate: Candidate, sources: Sources) -> Candidate:
    """The candidate of these sources; a UserError where the recipe names others."""
    found = sources.fingerprints
    for name, fingerprint in candidate.sources.items():
        if name in found and found[name] != fingerprint:
            raise UserError(
                f"{path}: '{name}' has other weights than the recipe's: SHA-256 "
                f"{found[name][:16]}, expected {fingerprint[:16]}; give the same files or revision"
            )
    return Candidate.from_json({**candidate.to_json(), "sources": found})


def short_card(candidate: Candidate, models: Mapping[str, str], sources: Sources) -> str:
    """A short README.md: what it is made of."""
    rows = [f"- {name}: `{model}`" for name, model in models.items() if name != VOCABULARY]
    method = METHODS[candidate.method]
    values = ", ".join(f"{name} {c:g}" for name, c in candidate.coefficients.items())
    means = " (means over groups)" if candidate.grouped else ""
    made = (
        f"Made by ExMe {metadata.version('exme')} from `{RECIPE}`: {method.title} ({method.paper}), "
        f"coefficients {values}{means}."
    )
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "tags: [merge, exme]",
            "---",
            "# A merge",
            "",
            made,
            "",
            *rows,
            "",
            chat_template(sources)[1].replace(", with which it was scored", ""),
            "",
        ]
    )
