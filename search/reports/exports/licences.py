"""Licences of a merge's inputs: read from their READMEs, and what follows for the merge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

# Front matter that states a model's licence, as the hub reads it.
_LICENCE_KEYS = ("license", "license_name", "license_link")


def read_licence(folder: Path) -> dict[str, str]:
    """Licence that a model's README states in its front matter; empty where it states none."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        _, front, _ = text.split("---", 2) if text.startswith("---") else ("", "", "")
        found = yaml.safe_load(front)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: found[key] for key in _LICENCE_KEYS if isinstance(found.get(key), str)}


def common_licence(
    names: Iterable[str], licences: Mapping[str, Mapping[str, str]]
) -> Mapping[str, str]:
    """What every input states; empty where they differ or one states none."""
    stated = [licences.get(name, {}) for name in names]
    return stated[0] if all(licence == stated[0] for licence in stated) else {}


def licence_warning(names: Iterable[str], licences: Mapping[str, Mapping[str, str]]) -> str:
    """What to tell about licences that differ; empty where every input states the same."""
    names = list(names)
    if common_licence(names, licences):
        return ""
    return licence_section(names, licences).replace("a merge", "this merge")


def licence_section(names: Iterable[str], licences: Mapping[str, Mapping[str, str]]) -> str:
    """What a card says of the licences of its inputs."""
    common = common_licence(names, licences)
    if common:
        return f"Every input states the same licence: {', '.join(common.values())}."
    stated = [
        f"{name}: {', '.join(licences[name].values()) if licences.get(name) else 'not stated'}"
        for name in names
    ]
    return (
        f"The inputs do not all state the same licence ({'; '.join(stated)}). All of their licences "
        f"apply to a merge; read them before you pass it on."
    )
