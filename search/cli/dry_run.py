"""`exme search --dry-run`: what a search would take, measured on a few documents of each suite; nothing of it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exme.search.running import Screen
from exme.search.study import load_study_file

from .options import open_beside
from .processes import usable_cores


def dry_run(
    path: Path, task: str | None, budget: Mapping[str, float | None], workers: int, screen: Screen
) -> None:
    """Open a study beside its own run, load its models, say what the search would take, and stop.

    Args:
        path: the study file.
        task: suites, as `open_search` takes them.
        budget: replaces limits of the study's.
        workers: how many would search here.
        screen: where lines go.

    Raises:
        UserError: the study cannot be used, or its models do not fit.
    """
    if workers > 1:
        import torch  # noqa: PLC0415

        torch.set_num_threads(max(1, usable_cores() // workers))  # (what each of them would have)
    content = load_study_file(path)
    with open_beside(content, path, task, screen, budget) as search:
        search.workers = workers
        if not content.directions and content.measure != "target_nll":
            search.settle()  # (these take longer than what is asked; comparing the inputs is what takes most memory)
        search.announce()
