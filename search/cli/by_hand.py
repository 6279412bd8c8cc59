"""Commands for merges that a person names: `exme score` and `exme build`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .options import RUNS_DEFAULT, JsonOption, RunsOption, TaskOption, aside, open_study, watched

StudyFirst = Annotated[Path, typer.Argument(help="Study file.", show_default=False)]
PointArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME=VALUE...",
        help="Coefficients by checkpoint (0 where left out), the method's parameters, method=NAME.",
        show_default=False,
    ),
]
_NO_REPORT = (
    "score: report documents are kept for the proof of the model that a search ends with, and every look at them makes that "
    "weaker; leave out --report to score on the search documents, or have `exme search` prove what it finds"
)


def read_point(words: Sequence[str]) -> dict[str, str]:
    """What is given by name: ``sums=0.7``."""
    from exme.tasks import UserError  # noqa: PLC0415

    found: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name or not value:
            raise UserError(f"by hand: '{word}' names no value; write it as sums=0.7")
        if name in found:
            raise UserError(f"by hand: '{name}' is given twice")
        found[name] = value
    return found


def score(
    study: StudyFirst,
    point: PointArgument,
    task: TaskOption = None,
    report: Annotated[
        bool, typer.Option("--report", help="Refused: report documents are for the proof.")
    ] = False,
    runs: RunsOption = RUNS_DEFAULT,
    json: JsonOption = False,
) -> None:
    """Score a merge of your own on all search documents, as the search scores.

    It is kept in the study as a trial "by hand": its documents count against the budget, the search and the report know of
    it, and it may be the winner. What was scored before is shown, not scored again.

    Example: `exme score studies/mini.yaml sums=0.7 products=2`
    """
    from exme.tasks import UserError  # noqa: PLC0415

    if report:
        raise UserError(_NO_REPORT)
    given = read_point(point)
    with (
        watched(json=json, plain=True) as screen,
        open_study(study, task, runs, screen=screen) as opened,
    ):
        from exme.search.study import BY_HAND, alone  # noqa: PLC0415

        before = len(opened.trials)
        trial = opened.score(given)
        screen.trial(trial, opened.trials, "", [alone(name) for name in opened.study.checkpoints])
        if trial.message:
            raise typer.Exit(1)
        kept = f"Kept in study {opened.folder.name} as trial #{trial.number}, {BY_HAND}."
        screen.say(kept if trial.number >= before else f"Scored before, as trial #{trial.number}.")


def build(
    study: StudyFirst,
    point: PointArgument,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    task: TaskOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    runs: RunsOption = RUNS_DEFAULT,
) -> None:
    """Write a merge of your own as a folder that `from_pretrained` loads, with its recipe.

    Nothing is scored, and no search need have been begun.

    Example: `exme build studies/mini.yaml sums=0.7 products=2 --out mine`
    """
    given = read_point(point)
    with aside() as screen:
        from exme.search.reports.exports import build as make  # noqa: PLC0415

        screen.note("Writing the model")
        made = make(study, given, out, task=task, runs=runs, force=force)
    typer.echo(str(made))
