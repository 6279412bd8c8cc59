"""The command line. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exme.tasks.errors import UserError

if TYPE_CHECKING:
    from .runner import Search

app = typer.Typer(
    name="exme",
    help="Search the best merge of a base model's fine-tunes, without training.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

# Typer carries a click of its own and names only some of its exceptions.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

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


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"exme {metadata.version('exme')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _study_path(study: Path | None) -> Path:
    """The file named, `studies/mini.yaml` here, or the one that ships with the package."""
    if study is not None:
        return study
    here = Path("studies/mini.yaml")
    if here.is_file():
        return here
    return Path(str(resources.files("exme.studies").joinpath("mini.yaml")))


def _open(
    study: Path | None,
    task: str | None,
    runs: Path,
    *,
    trials: int | None = None,
    fork: bool = False,
) -> Search:
    from .runner import open_search  # noqa: PLC0415

    path = _study_path(study)
    return open_search(path, task, runs=runs, trials=trials, fork=fork)


@app.command()
def search(
    study: StudyArgument = None,
    task: TaskOption = None,
    trials: TrialsOption = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Worker processes to start here.")
    ] = 1,
    fork: ForkOption = False,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Search for the best candidate, prove it on the report documents, write the report.

    Ctrl-C stops; the same command resumes. Run it twice, or `exme worker`, and both work on the
    same study.

    Example: `exme search studies/mini.yaml --task gsm8k --workers 4`
    """
    from .report import write_report  # noqa: PLC0415
    from .screen import Screen  # noqa: PLC0415
    from .verdict import verdict  # noqa: PLC0415

    with _open(study, task, runs, trials=trials, fork=fork) as opened:
        if workers > 1:
            _run_workers(opened, workers, _study_path(study), runs, trials)
        outcome = opened.run()
        opened.rest()  # drawing takes memory, too
        report = write_report(outcome, opened.folder, opened.examples(outcome))
        screen = Screen()
        screen.say(verdict(outcome).sentence, "bold")
        screen.say(f"Report: {report}")


def _run_workers(opened: Search, count: int, study: Path, runs: Path, trials: int | None) -> None:
    """Have workers of this machine use the budget up; whatever they leave is for the caller."""
    from .workers import run_workers, shares, usable_cores, visible_gpus  # noqa: PLC0415

    gpus = visible_gpus(opened.study.device)
    parts = shares(count, gpus, usable_cores(), os.environ)
    named = ", ".join(dict.fromkeys(part.words for part in parts))
    opened.screen.say(
        f"Starting {count} workers: {named} each."
        if not gpus
        else f"Starting {count} workers on {named}."
    )
    budget = [] if trials is None else ["--trials", str(trials)]
    task = opened.task.replace("+", ",")
    run_workers(
        ["worker", str(study), "--task", task, "--runs", str(runs), *budget, "--started-here"],
        parts,
        opened.screen.say,
    )


@app.command()
def worker(
    study: StudyArgument = None,
    task: TaskOption = None,
    trials: TrialsOption = None,
    runs: RunsOption = RUNS_DEFAULT,
    started_here: Annotated[bool, typer.Option("--started-here", hidden=True)] = False,
) -> None:
    """Work on a study beside others, from this or another machine, until its budget is used up.

    The proof and the report are left to `exme search`. Machines share a study through
    `storage: postgresql+psycopg://...` in its file; see docs/distributed.md.

    Example: `exme worker studies/mini.yaml --task gsm8k`
    """
    if started_here:
        from .workers import leave_with_parent  # noqa: PLC0415

        leave_with_parent()
    with _open(study, task, runs, trials=trials) as opened:
        opened.work()


@app.command()
def report(
    study: StudyArgument = None, task: TaskOption = None, runs: RunsOption = RUNS_DEFAULT
) -> None:
    """Write the report of a search so far, without scoring anything.

    Example: `exme report studies/mini.yaml --task gsm8k`
    """
    from .report import write_report  # noqa: PLC0415
    from .verdict import verdict  # noqa: PLC0415

    with _open(study, task, runs) as opened:
        outcome = opened.outcome()
        path = write_report(outcome, opened.folder, opened.examples(outcome))
    typer.echo(verdict(outcome).sentence)
    typer.echo(f"Report: {path}")


@app.command()
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
    from .export import export_best  # noqa: PLC0415

    with _open(study, task, runs) as opened:
        result = export_best(opened, out or opened.folder / "export", force=force)
    typer.echo(str(result))


@app.command()
def suites(
    study: Annotated[
        Path | None, typer.Argument(help="Study file; default: the suites that ship with exme.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="hub, mini, or a folder of JSON lines. Default: the study's, or mini."),
    ] = None,
) -> None:
    """List the suites: documents, splits, metric, and what each needs.

    Example: `exme suites --data mini`
    """
    from rich.console import Console  # noqa: PLC0415

    from exme.tasks.suite import load_suite, suite_names  # noqa: PLC0415

    from .study_file import load_study_file  # noqa: PLC0415
    from .suites import suites_table  # noqa: PLC0415

    names, where = suite_names(), "mini"
    if study is not None:
        content = load_study_file(study)
        names, where = list(content.suites), content.data
    Console().print(suites_table([load_suite(name) for name in names], data or where))


@app.command()
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

    Ends with exit code 1 when a score differs.

    Example: `exme verify studies/mini.yaml --task gsm8k --documents 40`
    """
    from .verify import table, verify_study  # noqa: PLC0415

    found = verify_study(_study_path(study), task, model, documents, runs)
    typer.echo(table(found))
    for parity in found:
        if not parity.equal:
            shown = ", ".join(parity.differing[:5])
            typer.echo(f"{parity.suite}: differs on {len(parity.differing)} documents: {shown}")
    if not all(parity.equal for parity in found):
        raise typer.Exit(1)


@app.command()
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
    from .recipe import materialise as make  # noqa: PLC0415

    typer.echo(str(make(recipe, out, force=force)))


@app.command()
def dashboard(
    study: StudyArgument = None,
    task: TaskOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; the next free one.")] = 8080,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Open optuna-dashboard on the study.

    Example: `exme dashboard studies/mini.yaml --task gsm8k`
    """
    from .dashboard import serve  # noqa: PLC0415

    with _open(study, task, runs) as opened:
        url = opened.storage.url
    serve(url, host=host, port=port, open_browser=browser)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Study file to write, e.g. studies/mine.yaml.")],
    base: Annotated[str, typer.Option(help="Base model: hub id, folder or mini name.")],
    checkpoint: Annotated[
        list[str],
        typer.Option(help="Fine-tune: hub id or folder, or name=id; give it once for each."),
    ],
    task: Annotated[str, typer.Option("--task", "-t", help="Suite to search on.")] = "gsm8k",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Check that checkpoints fit a base and write a commented study file for them.

    Example: `exme init studies/mine.yaml --base mini/base --checkpoint mini/sums
    --checkpoint mini/products`
    """
    from .init import name_checkpoints, write_study  # noqa: PLC0415

    message = write_study(path, base, name_checkpoints(checkpoint), task, force=force)
    typer.echo(message)


def main() -> None:
    """Entry point of the console command: errors of the user's end in one line and exit code 2."""
    sys.exit(_run(lambda: app(standalone_mode=False)))


def _run(command: Callable[[], object]) -> int:
    from .workers import Interrupts  # noqa: PLC0415

    Interrupts(lambda line: typer.echo(line, err=True)).install()
    try:
        code = command()
    except UserError as error:
        typer.echo(f"exme: {error}", err=True)
        return 2
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]  # see _UsageError
        return 2
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        where = error.filename or "what was to be written"
        typer.echo(
            f"exme: {where}: {error.strerror}; free some space. Nothing that was finished is lost; "
            f"the same command resumes",
            err=True,
        )
        return 2
    except (KeyboardInterrupt, typer.Abort):
        typer.echo(
            "\nStopped. Nothing that was finished is lost; the same command resumes.", err=True
        )
        return 130
    return code if isinstance(code, int) else 0
