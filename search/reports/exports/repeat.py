"""A search's study as a file that repeats it anywhere: without folders, addresses or names of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from exme.search.study import StudyFile, measure_of_ones_own

STUDY = "exme_study.yaml"
# Where a machine keeps or shows its trials; further arguments of vLLM may hold folders.
_OF_THE_MACHINE: dict[str, Any] = {
    "storage": True,
    "track": True,
    "training_run": True,
    "vllm": {"engine_args"},
}
_ANYWHERE = ("hub", "mini")


def study_to_repeat(study: StudyFile, places: Mapping[str, str]) -> str:
    """Content of a study file.

    Args:
        study: as it was when the search was begun.
        places: where base and checkpoints may be said to be (`public_names`).
    """
    content: dict[str, Any] = study.model_dump(
        mode="json", exclude_defaults=True, exclude=_OF_THE_MACHINE
    )
    content["base"] = places["base"]
    content["checkpoints"] = {name: places[name] for name in study.checkpoints}
    if study.training_run is not None:
        content["checkpoints"] = {"run": _run(study), "best": study.training_run.best}
    content["suites"] = [Path(name).name for name in study.suites]
    content["data"] = public_data(study.data)
    if measure_of_ones_own(study.measure):
        module, _, function = study.measure.rpartition(":")
        content["measure"] = f"{Path(module).name.removesuffix('.py')}:{function}"
    lead = "# Repeats the search that this merge was found by: `exme search` with --task as README.md says.\n"
    if missing := places_to_give(study, places):
        lead += f"# Not in this folder, and to be put beside it: {', '.join(missing)}.\n"
    return lead + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def public_data(data: str) -> str:
    """Where documents come from: ``hub``, ``mini``, or a folder's name alone."""
    return data if data in _ANYWHERE else f"./{Path(data).name}"


def places_to_give(study: StudyFile, places: Mapping[str, str]) -> list[str]:
    """Folders and files of the user's own, which a study only names."""
    own = [place for name, place in places.items() if place.startswith("./")]
    if study.training_run is not None:
        own = [places["base"]] * places["base"].startswith("./") + [_run(study)]
    own += [Path(name).name for name in study.suites if name.endswith((".yaml", ".yml"))]
    if study.data not in _ANYWHERE:
        own.append(public_data(study.data))
    if measure_of_ones_own(study.measure):
        own.append(Path(study.measure.rpartition(":")[0]).name)
    return own


def _run(study: StudyFile) -> str:
    """A training run's folder by its name; of a pattern, ``run/checkpoint-*``, the folder that it stands in, too."""
    assert study.training_run is not None
    parts = Path(study.training_run.run).parts
    return "/".join((".", *parts[-2 if "*" in parts[-1] else -1 :]))
