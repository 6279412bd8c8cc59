"""Arguments that commands share, and the study that they name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from exme.search.runner import Search

StudyArgument = Annotated[
    Path | None,
    typer.Argument(help="Study file; default: studies/mini.yaml.", show_default=False),
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", "-t", help="Suite; several: a,b; or all. Default: the study's first."),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of all runs.")]
ForkOption = Annotated[
    bool, typer.Option("--fork", help="Where the study file changed, begin a new study.")
]
TrialsOption = Annotated[
    int | None, typer.Option(min=1, help="Replaces the study's budget of trials.")
]
RUNS_DEFAULT = Path("studies/runs")


def study_path(study: Path | None) -> Path:
    """The file named, `studies/mini.yaml` here, or the one that ships with the package."""
    if study is not None:
        return study
    here = Path("studies/mini.yaml")
    if here.is_file():
        return here
    return Path(str(resources.files("exme.studies").joinpath("mini.yaml")))


def open_study(
    study: Path | None,
    task: str | None,
    runs: Path,
    *,
    trials: int | None = None,
    fork: bool = False,
) -> Search:
    from exme.search.runner import open_search  # noqa: PLC0415

    path = study_path(study)
    return open_search(path, task, runs=runs, trials=trials, fork=fork)
