"""Commands that write models: `exme export` and `exme materialise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import RUNS_DEFAULT, RunsOption, StudyArgument, TaskOption, aside, open_run

GgufOption = Annotated[
    str | None, typer.Option(help="Convert it too, by llama.cpp's converter: f16, bf16, q8_0, ...")
]


def export(
    study: StudyArgument = None,
    task: TaskOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default: export/ in the run's folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    trial: Annotated[
        int | None, typer.Option(min=0, help="That trial instead of the best.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="So many of the best, each in a folder of its own.")
    ] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Those that no other beats on all suites.")
    ] = False,
    push: Annotated[
        str | None, typer.Option(help="Upload to owner/name on the hub, private if new.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --push: open to all if new.")
    ] = False,
    gguf: GgufOption = None,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Write the best candidate as a folder that `from_pretrained` loads, bit for bit.

    With weights, tokenizer and chat template come a model card, the scores as lm-eval writes them,
    and recipes for exme and mergekit.

    Example: `exme export studies/mini.yaml --task gsm8k --out best`
    """
    from exme.tasks import UserError  # noqa: PLC0415

    if push is not None and (top is not None or pareto):
        raise UserError("export: --push takes one model; leave out --top and --pareto")
    with aside() as screen:
        from exme.search.reports import exports  # noqa: PLC0415

        if gguf is not None:
            exports.check_gguf_type(gguf)
        opened = open_run(study, task, runs)
        screen.note("Writing the model")
        results = exports.export_trials(
            opened, out or opened.folder / "export",
            number=trial, top=top, pareto=pareto, force=force, repository=push or "",
        )  # fmt: skip
    for result in results:
        typer.echo(str(result))
        typer.echo(result.verdict)
        if gguf is not None:
            typer.echo(exports.write_gguf(result.folder, gguf))
    for warning in dict.fromkeys(result.warning for result in results if result.warning):
        typer.echo(f"Note: {warning}", err=True)
    if push is not None:
        typer.echo(f"Pushed: {exports.push(results[0].folder, push, public=public)}")


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
    own = recipe if recipe.is_dir() else recipe.parent
    with aside() as screen:
        from exme.search.merging.folders import materialise as make  # noqa: PLC0415

        screen.note("Writing the model")
        made = make(recipe, out, force=force, within=[Path(), own, *(models or [])])
    typer.echo(str(made))
