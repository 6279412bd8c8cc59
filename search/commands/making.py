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
    models: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder in which the recipe's models may lie, beside the current one and the "
            "recipe's own; give it once for each."
        ),
    ] = None,
) -> None:
    """Make a recipe's model again, without its study, in memory bounded by a weight file.

    Example: `exme materialise best/exme_recipe.json --out again`
    """
    from exme.search.recipe import materialise as make  # noqa: PLC0415

    own = recipe if recipe.is_dir() else recipe.parent
    typer.echo(str(make(recipe, out, force=force, within=[Path(), own, *(models or [])])))
