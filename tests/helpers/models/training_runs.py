"""A trainer's folder, as transformers leaves it: mini/base on its way to another mini model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file

from exme.tasks.mini import MODELS

# How far along each checkpoint is, 1 being mini/sums.
COURSE = (0.3, 0.6, 0.9, 1.2)


def make_training_run(
    folder: Path, course: Sequence[float] = COURSE, *, to: str = "sums", losses: bool = True
) -> Path:
    """Folders ``checkpoint-100``, ``checkpoint-200``, ... of weights, optimizer states and what the trainer says.

    Args:
        folder: that is made.
        course: how far along each checkpoint is from the base to the model, or beyond it.
        to: the mini model.
        losses: of an evaluation at each checkpoint.
    """
    base = load_file(MODELS / "base" / "model.safetensors")
    other = load_file(MODELS / to / "model.safetensors")
    for number, share in enumerate(course, 1):
        step, place = 100 * number, folder / f"checkpoint-{100 * number}"
        place.mkdir(parents=True)
        for file in (MODELS / "base").iterdir():
            if file.is_file() and file.suffix != ".safetensors":
                shutil.copyfile(file, place / file.name)
        moved = {n: b.float() + share * (other[n].float() - b.float()) for n, b in base.items()}
        weights = {n: moved[n].to(b.dtype) for n, b in base.items()}
        save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
        (place / "optimizer.pt").write_bytes(b"a pickle, which nobody is to read")
        history = [{"step": step, "loss": 1.0}, {"step": step, "eval_loss": 2.0 - share}]
        state = {"global_step": step, "log_history": history[: 1 + losses]}
        (place / "trainer_state.json").write_text(json.dumps(state))
    return folder
