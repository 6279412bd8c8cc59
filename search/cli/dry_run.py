"""`exme search --dry-run`: what a search would take, measured on one batch of each suite; nothing of it is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path

from exme.search.running import Screen, open_search
from exme.search.study import load_study_file


def dry_run(path: Path, task: str | None, trials: int | None, screen: Screen) -> None:
    """Open a study beside its own run, load its models, say what the search would take, and stop.

    Args:
        path: the study file.
        task: suites, as `open_search` takes them.
        trials: replaces the study's budget of trials.
        screen: where lines go.

    Raises:
        UserError: the study cannot be used, or its models do not fit.
    """
    content = load_study_file(path).model_copy(update={"storage": None})
    with (
        tempfile.TemporaryDirectory(prefix="exme-dry-run-") as folder,
        open_search(
            content, task, name=path.stem, runs=folder, trials=trials, screen=screen
        ) as search,
    ):
        search.announce()
