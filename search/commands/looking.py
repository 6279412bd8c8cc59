"""Commands that look at a search: `exme report` and `exme dashboard`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import RUNS_DEFAULT, RunsOption, StudyArgument, TaskOption, open_study


def report(
    study: StudyArgument = None, task: TaskOption = None, runs: RunsOption = RUNS_DEFAULT
) -> None:
    """Write the report of a search so far, without scoring anything.

    Example: `exme report studies/mini.yaml --task gsm8k`
    """
    from exme.search.report import write_report  # noqa: PLC0415
    from exme.search.verdict import verdict  # noqa: PLC0415

    with open_study(study, task, runs) as opened:
        outcome = opened.outcome()
        path = write_report(outcome, opened.folder, opened.examples(outcome))
    typer.echo(verdict(outcome).sentence)
    typer.echo(f"Report: {path}")


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
    from exme.search.dashboard import serve  # noqa: PLC0415

    with open_study(study, task, runs) as opened:
        url = opened.storage.url
    serve(url, host=host, port=port, open_browser=browser)
