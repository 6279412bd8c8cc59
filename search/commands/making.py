"""Commands that write models: `exme export` and `exme materialise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import RUNS_DEFAULT, RunsOption, StudyArgument, TaskOption, open_study


def export(
    study: StudyArgument = None,
    task: TaskOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default: export/ in the run's folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Write the best candidate as a folder that `from_pretrained` loads, bit for bit.

    Example: `exme export studies/mini.yaml --task gsm8k --out best`
    """
    from exme.search.export import export_best  # noqa: PLC0415

    with open_study(study, task, runs) as opened:
        result = export_best(opened, out or opened.folder / "export", force=force)
    typer.echo(str(result))


def materialise(
    recipe: Annotated[
        Path, typer.Argument(help="Recipe (exme_recipe.json, or YAML), or an export's folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Make a recipe's model again, without its study, in memory bounded by a weight file.

    Example: `exme materialise best/exme_recipe.json --out again`
    """
    from exme.search.recipe import materialise as make  # noqa: PLC0415

    typer.echo(str(make(recipe, out, force=force)))
