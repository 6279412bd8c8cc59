"""Commands that search: `exme search` and `exme worker`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    RUNS_DEFAULT,
    DocumentsOption,
    ForkOption,
    GainOption,
    HoursOption,
    JsonOption,
    PlainOption,
    RunsOption,
    StudyArgument,
    TaskOption,
    TrialsOption,
    open_study,
    study_path,
    watched,
)

if TYPE_CHECKING:
    from exme.search.running import Search


def search(
    study: StudyArgument = None,
    task: TaskOption = None,
    trials: TrialsOption = None,
    hours: HoursOption = None,
    documents: DocumentsOption = None,
    gain: GainOption = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Worker processes to start here.")
    ] = 1,
    fork: ForkOption = False,
    runs: RunsOption = RUNS_DEFAULT,
    json: JsonOption = False,
    plain: PlainOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the search would take, and stop.")
    ] = False,
) -> None:
    """Search for the best candidate, prove it on the report documents, write the report.

    Ctrl-C stops; the same command resumes. Run it twice, or `exme worker`, and both work on the
    same study.

    On a terminal a picture of the search stays in view; elsewhere each trial is a line.
    `--json` writes one JSON object a line instead: docs/reference/events.md.

    `--hours 1.5` ends in time, the proof included: a search that was interrupted goes on with what is left of its hours.

    `--dry-run` loads the models, measures a few documents, says how much memory, how many documents and
    how long, the proof included, and keeps nothing.

    Example: `exme search studies/mini.yaml --task gsm8k --workers 4`
    """
    budget = {"trials": trials, "hours": hours, "documents": documents, "gain": gain}
    if dry_run:
        with watched(json=json, plain=plain) as screen:
            from .dry_run import dry_run as try_out  # noqa: PLC0415

            try_out(study_path(study), task, budget, workers, screen)
        return
    with (
        watched(json=json, plain=plain) as screen,
        open_study(study, task, runs, budget=budget, fork=fork, screen=screen) as opened,
    ):
        from exme.search.reports.pages import next_step, write_report  # noqa: PLC0415

        opened.storage.sitting = began()
        if workers > 1:
            run_here(opened, workers, study_path(study), runs, budget)
        outcome = opened.run()
        opened.rest()  # drawing takes memory, too
        screen.note("Writing the report")
        report = write_report(outcome, opened.folder, opened.examples(outcome))
        following = [line.replace("`", "") for line in next_step(outcome)]
        screen.verdict(outcome.verdict, report.with_suffix(".html"), following)


def began(process: int | None = None) -> float:
    """When a process began, this one by default, in seconds since 1970: a budget of hours runs from then."""
    import psutil  # noqa: PLC0415

    return psutil.Process(process).create_time()


def run_here(
    opened: Search, count: int, study: Path, runs: Path, limits: Mapping[str, float | None]
) -> None:
    """Have workers of this machine use the budget up; whatever they leave is for the caller."""
    from .processes import run_workers, shares, usable_cores, visible_gpus  # noqa: PLC0415

    gpus = visible_gpus(opened.study.device)
    is_served = opened.precision.engine == "vllm"
    each = opened.study.vllm.tensor_parallel_size if is_served else 0
    parts = shares(count, gpus, usable_cores(), os.environ, each)
    named = ", ".join(dict.fromkeys(part.words for part in parts))
    opened.screen.say(
        f"Starting {count} workers: {named} each."
        if not gpus
        else f"Starting {count} workers on {named}."
    )
    opened.workers = count
    opened.screen.begin(opened.view)
    opened.screen.note("The workers are at work")
    budget = [f"--{name}={value}" for name, value in limits.items() if value is not None]
    task = opened.task.replace("+", ",")
    run_workers(
        [
            "worker",
            str(study),
            "--task",
            task,
            "--runs",
            str(runs),
            *budget,
            f"--started-here={count}",
        ],
        parts,
        opened.screen.say,
    )


def worker(
    study: StudyArgument = None,
    task: TaskOption = None,
    trials: TrialsOption = None,
    hours: HoursOption = None,
    documents: DocumentsOption = None,
    gain: GainOption = None,
    runs: RunsOption = RUNS_DEFAULT,
    json: JsonOption = False,
    plain: PlainOption = False,
    started_here: Annotated[int, typer.Option("--started-here", hidden=True)] = 0,
) -> None:
    """Work on a study beside others, from this or another machine, until its budget is used up.

    The proof and the report are left to `exme search`. Machines share a study through
    `storage: postgresql+psycopg://...` in its file; see docs/distributed.md.

    Example: `exme worker studies/mini.yaml --task gsm8k`
    """
    if started_here:
        from .processes import leave_with_parent  # noqa: PLC0415

        leave_with_parent()
    budget = {"trials": trials, "hours": hours, "documents": documents, "gain": gain}
    with (
        watched(json=json, plain=plain, alone=not started_here) as screen,
        open_study(study, task, runs, budget=budget, screen=screen) as opened,
    ):
        opened.storage.sitting = began(os.getppid() if started_here else None)
        opened.workers = max(1, started_here)
        opened.work(tells_end=not started_here)
