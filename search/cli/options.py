"""Arguments that commands share, and the study that they name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from exme.search.running import Screen, Search, StoredSearch, Ticker
    from exme.search.study import StudyFile

StudyArgument = Annotated[
    Path | None,
    typer.Argument(help="Study file; default: studies/mini.yaml.", show_default=False),
]


def _suites(incomplete: str) -> list[str]:
    from exme.tasks import suite_names  # noqa: PLC0415

    return [name for name in (*suite_names(), "all") if name.startswith(incomplete)]


TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        "-t",
        help="Suite; several: a,b; or all. Default: the study's first.",
        autocompletion=_suites,
    ),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of all runs.")]
ForkOption = Annotated[
    bool, typer.Option("--fork", help="Where the study file changed, begin a new study.")
]
TrialsOption = Annotated[
    int | None, typer.Option(min=1, help="Replaces the study's budget of trials.")
]
HoursOption = Annotated[
    float | None,
    typer.Option(help="Replaces the study's budget of hours, on the clock, proof included."),
]
DocumentsOption = Annotated[
    int | None, typer.Option(min=1, help="Replaces the study's budget of search documents.")
]
GainOption = Annotated[
    float | None,
    typer.Option(help="End when more documents are expected to bring fewer points than this."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")]
PlainOption = Annotated[
    bool, typer.Option("--plain", help="Plain lines, even where there is a terminal.")
]
RUNS_DEFAULT = Path("studies/runs")
LOADING = "Loading libraries"


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
    budget: Mapping[str, float | None] | None = None,
    fork: bool = False,
    screen: Screen | None = None,
) -> Search:
    """The search that a command names; see `exme.search.open_search`."""
    from exme.search.running import open_search  # noqa: PLC0415

    path = study_path(study)
    return open_search(path, task, runs=runs, budget=budget, fork=fork, screen=screen)


@contextmanager
def open_beside(
    study: StudyFile,
    path: Path,
    task: str | None,
    screen: Screen,
    budget: Mapping[str, float | None] | None = None,
) -> Iterator[Search]:
    """A study beside its own run, which stays as it is: nothing of what is done is kept.

    Args:
        study: what it says.
        path: its file.
        task: suites, as `open_search` takes them.
        screen: where lines go.
        budget: replaces limits of the study's.
    """
    from exme.search.running import open_search  # noqa: PLC0415
    from exme.search.study import pick_suites  # noqa: PLC0415

    if task is not None:
        pick_suites(
            study, task, str(path)
        )  # (a suite that is not there is told by the file's name)
    content = study.model_copy(update={"storage": None})
    with (
        tempfile.TemporaryDirectory(prefix="exme-") as folder,
        open_search(
            content, task, name=path.stem, runs=folder, budget=budget, screen=screen
        ) as search,
    ):
        yield search


def open_run(study: Path | None, task: str | None, runs: Path) -> StoredSearch:
    """The run that a command reads; see `exme.search.running.stored_search.open_stored`."""
    from exme.search.running import open_stored  # noqa: PLC0415

    return open_stored(study_path(study), task, runs)


def pick_screen(*, json: bool, plain: bool, ticker: Ticker | None = None) -> Screen:
    """Events for a machine, a picture for a terminal, or plain lines."""
    from rich.console import Console  # noqa: PLC0415

    if json:
        from exme.search.reports.terminal import JsonScreen  # noqa: PLC0415

        return JsonScreen()
    console = Console(highlight=False)
    if plain or not console.is_terminal or console.is_dumb_terminal:
        from exme.search.running import Screen  # noqa: PLC0415

        return Screen(ticker=ticker)
    from exme.search.reports.terminal import LiveScreen  # noqa: PLC0415

    return LiveScreen(console, ticker)


@contextmanager
def watched(*, json: bool, plain: bool, alone: bool = True) -> Iterator[Screen]:
    """A command's screen, on which nothing is silent for long.

    Machines are told no more than events, and workers of another command no more than lines.
    """
    from exme.search.running import Ticker  # noqa: PLC0415

    if json or not alone:
        yield pick_screen(json=json, plain=plain)
        return
    with Ticker(LOADING) as ticker:
        yield pick_screen(json=json, plain=plain, ticker=ticker)


@contextmanager
def aside() -> Iterator[Screen]:
    """A screen on standard error, on which nothing is silent for long: for commands whose result is their output."""
    from rich.console import Console  # noqa: PLC0415

    from exme.search.running import Ticker  # noqa: PLC0415

    with Ticker(LOADING) as ticker:
        from exme.search.running import Screen  # noqa: PLC0415

        yield Screen(Console(stderr=True, highlight=False, soft_wrap=True), ticker)
