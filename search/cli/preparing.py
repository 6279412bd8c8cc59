"""Commands before a search: `exme init`, `exme suites`, `exme verify` and `exme doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    RUNS_DEFAULT,
    JsonOption,
    RunsOption,
    StudyArgument,
    TaskOption,
    aside,
    study_path,
)

_Checkpoints = Annotated[
    list[str] | None,
    typer.Option(
        help="Fine-tune: hub id or folder, or name=id; give it once for each. Or a pattern, in quotes.",
        show_default=False,
    ),
]
_TrainingRun = Annotated[
    str | None,
    typer.Option(
        help="Training run: a trainer's folder, or a pattern, whose best checkpoints are found first.",
        show_default=False,
    ),
]
_FromMergekit = Annotated[
    Path | None,
    typer.Option(
        help="Take models, method and first point from a mergekit configuration, or from mergekit-evolve's."
    ),
]
_Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        "-t",
        help="Suites to search on, by commas. Default: gsm8k.",
        show_default=False,
    ),
]


def init(
    path: Annotated[Path, typer.Argument(help="Study file to write, e.g. studies/mine.yaml.")],
    base: Annotated[
        str | None,
        typer.Option(help="Base model: hub id, folder or mini name.", show_default=False),
    ] = None,
    checkpoint: _Checkpoints = None,
    run: _TrainingRun = None,
    from_mergekit: _FromMergekit = None,
    task: _Task = None,
    data: Annotated[str | None, typer.Option(help="hub, mini, or a folder of JSON lines.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Check that checkpoints fit a base and write a commented study file for them.

    Example: `exme init studies/mine.yaml --base mini/base --checkpoint mini/sums
    --checkpoint mini/products`
    """
    from exme.search.running import Ticker  # noqa: PLC0415
    from exme.tasks import UserError  # noqa: PLC0415

    if from_mergekit is not None and (checkpoint or run):
        raise UserError("init: --from-mergekit brings its models; leave --checkpoint and --run out")
    settings = {"data": data} if data else {}
    with Ticker("Reading the models"):
        if from_mergekit is None:
            told = _init_from_models(
                path, base, run, checkpoint or [], task or "gsm8k", settings, force=force
            )
        else:
            told = _init_from_mergekit(path, from_mergekit, base, task, settings, force=force)
    typer.echo(told)


def _init_from_models(
    path: Path,
    base: str | None,
    run: str | None,
    given: list[str],
    task: str,
    settings: dict[str, str],
    *,
    force: bool,
) -> str:
    """Write the study of a base and checkpoints, or a training run; what was found, as lines."""
    from exme.search.study import (  # noqa: PLC0415
        load_study_file,
        name_checkpoints,
        run_of,
        write_study,
    )
    from exme.tasks import UserError  # noqa: PLC0415

    run, listed = run_of(run, given)
    named = name_checkpoints(listed)
    if base is None or not (named or run):
        missing = "--base" if base is None else "--checkpoint or --run"
        raise UserError(f"init: {missing} is missing; see `exme init --help` for an example")
    told = [write_study(path, base, named, task, run=run, settings=settings, force=force)]
    if run or len(named) > 1:
        from exme.search.opening import kinship_of, open_sources  # noqa: PLC0415  (loads torch)

        told += kinship_of(open_sources(load_study_file(path)))
    return "\n".join(told)


def _init_from_mergekit(
    path: Path,
    source: Path,
    given_base: str | None,
    task: str | None,
    settings: dict[str, str],
    *,
    force: bool,
) -> str:
    """Write the study that a file of mergekit's begins; what there is to say of it, as lines."""
    from exme.search.study import read_mergekit, write_study  # noqa: PLC0415
    from exme.tasks import UserError  # noqa: PLC0415

    taken = read_mergekit(source, given_base)
    base = given_base or taken.base
    if base is None:  # a linear merge has none there
        raise UserError(
            f"{source}: names no base_model; give the model that its models are fine-tunes of with --base"
        )
    message = write_study(
        path, base, taken.checkpoints, task or ",".join(taken.tasks) or "gsm8k",
        method=taken.method, start=taken.point, settings={**taken.settings, **settings}, force=force,
    )  # fmt: skip
    return "\n".join([*taken.told, message])


def suites(
    study: Annotated[
        Path | None, typer.Argument(help="Study file; default: the suites that ship with exme.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="hub, mini, or a folder of JSON lines. Default: the study's, or mini."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--all", metavar="PATTERN", help="Instead: lm-eval's tasks whose names hold PATTERN."
        ),
    ] = None,
) -> None:
    """List the suites: documents, splits, metric, and what each needs.

    Any of lm-eval's tasks can be searched on by its name.

    Example: `exme suites --all arc`
    """
    from rich.console import Console  # noqa: PLC0415

    from exme.search.reports.terminal import print_fitting  # noqa: PLC0415
    from exme.search.study import (  # noqa: PLC0415
        load_study_file,
        suites_table,
        tasks_table,
    )
    from exme.tasks import load_suite, suite_names  # noqa: PLC0415

    if pattern is not None:
        print_fitting(
            Console(), tasks_table(pattern), give_up=("data set", "splits (search / report)")
        )
        return
    names, where = suite_names(), "mini"
    if study is not None:
        content = load_study_file(study)
        names, where = list(content.suites), content.data
    table = suites_table([load_suite(name) for name in names], data or where)
    print_fitting(
        Console(),
        table,
        give_up=("version", "published search / report", "splits", "needs", "shots"),
    )


def verify(
    study: StudyArgument = None,
    task: TaskOption = None,
    model: Annotated[
        str, typer.Option(help="base, a checkpoint's name, or best (of the search so far).")
    ] = "base",
    documents: Annotated[
        int | None, typer.Option(min=1, help="Replaces the study's number of search documents.")
    ] = None,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Score a model with ExMe and with lm-eval alone, document by document.

    Ends with exit code 1 when an answer differs, or a score by more than 1e-4.

    Example: `exme verify studies/mini.yaml --task gsm8k --documents 40`
    """
    with aside() as screen:
        from .verify import differences, table, verify_study  # noqa: PLC0415

        found = verify_study(study_path(study), task, model, documents, runs, screen)
    typer.echo(table(found))
    for parity in found:
        for line in differences(parity):
            typer.echo(line)
    if not all(parity.equal for parity in found):
        raise typer.Exit(1)


def doctor(
    study: Annotated[
        Path | None, typer.Argument(help="Study file, all of which is tried without a search.")
    ] = None,
    task: TaskOption = None,
    json: JsonOption = False,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Say what of this machine works, and, given a study, what of it would go wrong in a search.

    Of a study: inputs beside their own models, direction of each metric, few-shot examples, answers that are cut,
    chat template, chance, duplicates, disk, memory, hub. Ends in a table, with a remedy for each thing, and with exit
    code 1 when something is broken.

    Example: `exme doctor studies/mini.yaml --task gsm8k`
    """
    from dataclasses import asdict  # noqa: PLC0415
    from json import dumps  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from .doctor import BROKEN, examine, findings_table  # noqa: PLC0415
    from .study_doctor import examine_study  # noqa: PLC0415

    if study is not None and not study.exists():
        from exme.search.study import load_study_file  # noqa: PLC0415

        load_study_file(study)  # (a slip of the finger is told at once)
    with aside() as screen:
        screen.note("Trying what a search needs")
        found = list(examine(runs))
        if study is not None:
            found += examine_study(study, task, screen)
    if json:
        for finding in found:
            typer.echo(dumps(asdict(finding)))
    else:
        Console(highlight=False).print(findings_table(found))
    if any(finding.state == BROKEN for finding in found):
        raise typer.Exit(1)
