"""Commands that look at a search: `exme status`, `exme report`, `exme table` and `exme dashboard`."""

from __future__ import annotations

import threading
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    RUNS_DEFAULT,
    JsonOption,
    RunsOption,
    StudyArgument,
    TaskOption,
    aside,
    open_run,
)

if TYPE_CHECKING:
    from rich.console import Console


def status(
    study: Annotated[
        Path | None, typer.Argument(help="Study file; default: every run.", show_default=False)
    ] = None,
    task: TaskOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show what changes.")] = False,
    json: JsonOption = False,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Show how a search stands, from another window: best, gain, budget, last trials.

    It reads the storage alone: no model is loaded, and the search is not disturbed.

    Example: `exme status studies/mini.yaml --task gsm8k --watch`
    """
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    if study is None:
        _all_runs(runs, console, json=json)
        return
    with aside():
        from exme.search.reports.terminal import SearchPanel  # noqa: PLC0415

        opened = open_run(study, task, runs)
        panel = SearchPanel(opened.view(), note=opened.note)
    if opened.storage.record.is_older and (json or watch):
        typer.echo(opened.note, err=True)
    if json:
        from exme.search.reports.terminal import JsonScreen, search_facts  # noqa: PLC0415

        if watch:
            watched = JsonScreen()
            watched.begin(opened.view)
            threading.Event().wait()
        typer.echo(dumps(search_facts(opened.view())))
    elif watch and console.is_terminal:
        from exme.search.reports.terminal import LiveScreen  # noqa: PLC0415

        picture = LiveScreen(console)
        try:
            picture.begin(opened.view)
            picture.note("Watching; Ctrl-C ends this and leaves the search alone.")
            threading.Event().wait()
        finally:
            picture.close()
    else:
        console.print(panel)


def _all_runs(runs: Path, console: Console, *, json: bool) -> None:
    with aside():
        from exme.search.reports.terminal import (  # noqa: PLC0415
            all_runs,
            print_fitting,
            runs_table,
            search_facts,
        )

        found = all_runs(runs)
    if json:
        for run in found:
            changed = run.changed and run.changed.isoformat()
            typer.echo(dumps({**search_facts(run.view), "changed": changed}))
    elif found:
        print_fitting(console, runs_table(found), give_up=("last change", "candidates", "best"))
    else:
        typer.echo(f"No search has been begun in {runs}; `exme search` begins one.")


def report(
    study: StudyArgument = None, task: TaskOption = None, runs: RunsOption = RUNS_DEFAULT
) -> None:
    """Write the report of a search so far, without scoring anything.

    Example: `exme report studies/mini.yaml --task gsm8k`
    """
    with aside() as screen:
        from exme.search.reports.pages import next_step, write_report  # noqa: PLC0415

        opened = open_run(study, task, runs)
        screen.note("Writing the report")
        outcome = opened.outcome()
        path = write_report(outcome, opened.folder, opened.examples(outcome))
    found = outcome.verdict
    typer.echo(found.sentence)
    if found.caution:
        typer.echo(found.caution)
    typer.echo(f"Report: {path.with_suffix('.html')}")
    for line in next_step(outcome):
        typer.echo(line.replace("`", ""))


def table(
    study: StudyArgument = None,
    task: TaskOption = None,
    out: Annotated[Path, typer.Option(help="File to write: .parquet or .csv.")] = Path(
        "trials.parquet"
    ),
    documents: Annotated[
        bool, typer.Option("--documents", help="One row a model and document, instead of a trial.")
    ] = False,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Write the trials as a table for pandas, or their scores document by document.

    Example: `exme table studies/mini.yaml --task gsm8k --out trials.csv`
    """
    with aside():
        from exme.search.reports.pages import documents_table, trials_table, write_table  # noqa: PLC0415

        outcome = open_run(study, task, runs).outcome()
        found = documents_table(outcome) if documents else trials_table(outcome.trials)
        write_table(found, out)
    typer.echo(f"Wrote {len(found)} rows to {out}.")


def dashboard(
    study: StudyArgument = None,
    task: TaskOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; the next free one.")] = 8080,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Open optuna-dashboard on the study, with a note and pictures of every trial.

    Notes are written while it is open, for trials that are still to come too.

    Example: `exme dashboard studies/mini.yaml --task gsm8k`
    """
    with aside():
        from exme.search.reports.dashboard import Annotator, serve  # noqa: PLC0415

        opened = open_run(study, task, runs)
        annotator = Annotator(opened)
    annotator.start()
    try:
        serve(
            opened.storage.url,
            host=host,
            port=port,
            open_browser=browser,
            artifacts=annotator.folder,
        )
    finally:
        annotator.close()
