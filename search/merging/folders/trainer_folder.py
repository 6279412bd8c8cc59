"""The checkpoints that a trainer left in a folder: where each is, at which step, and with which loss.

What transformers' Trainer writes, and TRL, axolotl and LLaMA-Factory with it: ``checkpoint-<step>`` folders of weights or
of an adapter, each with ``trainer_state.json``. Optimizer states beside them are not read.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exme.search.merging.sources.adapter import WEIGHTS
from exme.search.merging.sources.checkpoint import (
    ADAPTER,
    CHECKPOINTS,
    SINGLE,
    holds_model,
    read_json,
)
from exme.search.merging.sources.weight_files import INDEX
from exme.tasks import UserError

STATE = "trainer_state.json"
_STEP = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class TrainingCheckpoint:
    """One checkpoint of a training run.

    Attributes:
        name: its folder's, with the folder above it where two are called the same.
        folder: where it is.
        step: training steps before it, as the trainer says, or its folder's name; None where neither does.
        loss: of the evaluation at that step; None where there was none.
    """

    name: str
    folder: str
    step: int | None
    loss: float | None


def is_pattern(where: str) -> bool:
    """Whether a place names several folders: ``run/checkpoint-*``."""
    return glob.has_magic(where)


def training_run(where: str) -> tuple[TrainingCheckpoint, ...]:
    """The checkpoints of a training run, in order of their steps.

    Args:
        where: the trainer's folder, or a pattern of checkpoints' folders (relative to the current one; ``~`` is expanded).

    Raises:
        UserError: there are none, or one has no weights.
    """
    folders = _folders(where)
    found = [_read(name, folder) for name, folder in zip(_names(folders), folders, strict=True)]
    return tuple(sorted(found, key=lambda c: (c.step is None, c.step or 0, c.name)))


def _folders(where: str) -> list[Path]:
    place = Path(where).expanduser()
    pattern = str(place if is_pattern(where) else place / CHECKPOINTS)
    if not is_pattern(where) and not place.is_dir():
        raise UserError(
            f"training run {where}: no such folder (seen from {Path.cwd()}); give a trainer's folder, or a pattern such "
            f"as '{where.rstrip('/')}/{CHECKPOINTS}'"
        )
    folders = sorted(path for path in map(Path, glob.glob(pattern)) if path.is_dir())  # noqa: PTH207  (absolute ones, too)
    if not is_pattern(where):
        folders = [path for path in folders if _STEP.search(path.name)]
    if not folders:
        model = holds_model(place) and "; it is a model itself: give it with --checkpoint"
        raise UserError(f"training run {where}: no checkpoints in {pattern}{model or ''}")
    return folders


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own, with the one above where two are the same."""
    last = [path.name for path in folders]
    if len(set(last)) == len(last):
        return last
    return [f"{path.resolve().parent.name}-{path.name}" for path in folders]


def _read(name: str, folder: Path) -> TrainingCheckpoint:
    """What there is to know of a checkpoint before it is opened."""
    weights = (
        (folder / WEIGHTS,) if (folder / ADAPTER).is_file() else (folder / SINGLE, folder / INDEX)
    )
    if not any(file.is_file() for file in weights):
        raise UserError(
            f"training run: {folder} has no weights ({' or '.join(file.name for file in weights)}): its trainer may still "
            f"be writing it, or has saved it in parts; wait, have it saved whole, or leave it out by a pattern"
        )
    step, loss = int(found[1]) if (found := _STEP.search(folder.name)) else None, None
    if (folder / STATE).is_file():
        state = read_json(folder / STATE)
        said = state.get("global_step")
        step = said if isinstance(said, int) else step
        loss = _loss(state.get("log_history"), step)
    return TrainingCheckpoint(name, str(folder), step, loss)


def _loss(history: object, step: int | None) -> float | None:
    """The last loss of an evaluation at a step, of what a trainer has logged."""
    entries = [e for e in history if isinstance(e, dict)] if isinstance(history, list) else []
    losses = [e.get("eval_loss") for e in entries if e.get("step") == step]
    return next((float(loss) for loss in reversed(losses) if isinstance(loss, int | float)), None)
