"""Where a task's few-shot examples come from, and that none of them is a document that is scored."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lm_eval.api.samplers import FirstNSampler
from lm_eval.tasks._yaml_loader import load_yaml

from exme.tasks import Suite, UserError


def task_config(manager: Any, name: str, *, functions: bool = False) -> dict[str, Any]:
    """What an lm-eval task's file says, with what it includes.

    Args:
        functions: load them, and what they import; else they are the names of them.
    """
    entry = manager.task_index[name]
    if entry.yaml_path is None:
        return entry.cfg or {}
    said: dict[str, Any] = load_yaml(entry.yaml_path, resolve_func=functions)
    return said


def check_own_examples(manager: Any, suite: Suite, name: str) -> None:
    """Refuse a task whose few-shot examples the suite does not name: they may be what is scored.

    Raises:
        UserError: says what to write into the suite's file.
    """
    said = task_config(manager, name)
    shots = said.get("num_fewshot") or 0
    own = said.get("fewshot_config") or {}
    split = said.get("fewshot_split") or own.get("split")
    about = (
        f"suite '{suite.suite}': fewshot: count is {suite.fewshot.count}, and lm-eval task '{name}'"
    )
    if shots != suite.fewshot.count:
        raise UserError(
            f"{about} shows {shots} examples; write the same, or name the split that examples are taken "
            f"from, e.g. `fewshot: {{split: train, count: {suite.fewshot.count}}}`"
        )
    if shots and (split is not None or "samples" not in own):
        split = split or said.get("training_split") or said.get("validation_split")
        found = (
            f"draws them from its split '{split}'" if split else "has no split to draw them from"
        )
        raise UserError(
            f"{about} {found}, where documents may be that are scored; name a split whose first "
            f"documents are the examples, and are never scored: `fewshot: {{split: {split or 'train'}, "
            f"count: {shots}}}`"
        )


def fewshot_config(manager: Any, name: str) -> dict[str, Any]:
    """How a task writes its examples, without where it takes them from."""
    own = task_config(manager, name, functions=True).get("fewshot_config") or {}
    return {k: v for k, v in own.items() if k not in ("split", "samples", "fewshot_indices")}


def draw_by_document(task: Any, seed: int) -> None:
    """Have the examples that a task draws depend on the document, not on those that came before it."""
    sampler, context = getattr(task, "sampler", None), task.fewshot_context
    if sampler is None or type(sampler) is FirstNSampler:
        return

    def fewshot_context(doc: Any, *args: Any, **kwargs: Any) -> Any:
        told = json.dumps([seed, doc], sort_keys=True, default=str)
        sampler.set_rnd(int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big"))
        return context(doc, *args, **kwargs)

    task.fewshot_context = fewshot_context
