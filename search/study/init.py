"""`exme init`: a commented study file for a base and its fine-tunes, once they are known to fit."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exme.search.merging.folders import (
    TrainingCheckpoint,
    chat_template_of,
    is_pattern,
    training_run,
)
from exme.search.merging.sources import (
    Adapter,
    Checkpoint,
    Source,
    check_fit,
    locate,
    open_checkpoint,
)
from exme.tasks import UserError, load_suite

from .study_file import NAME, RESERVED, load_study_file
from .study_text import study_text, with_settings


def name_checkpoints(given: Sequence[str]) -> dict[str, str]:
    """Give every checkpoint a name: the one before ``=``, or one made from its folder or hub id.

    Args:
        given: ``name=where`` or ``where`` each.

    Returns:
        Where each checkpoint is, by its name, in the order given.

    Raises:
        UserError: a name is given twice or cannot be used.
    """
    named: dict[str, str] = {}
    for text in given:
        name, separator, where = text.partition("=")
        if not separator or "/" in name or "~" in name:  # an `=` further on is part of a path
            name, where = _derive(text, named), text
        if not where:
            raise UserError(f"checkpoint '{name}': nothing after '='; write name=folder")
        if name in named:
            raise UserError(f"checkpoint name '{name}' is given twice; names must differ")
        named[name] = where
    return named


def run_of(run: str | None, given: Sequence[str]) -> tuple[str | None, list[str]]:
    """The training run that is named, by ``--run`` or by a pattern among the checkpoints, and the other checkpoints.

    Raises:
        UserError: a run does not stand alone.
    """
    patterns = [text for text in given if is_pattern(text)]
    runs = [*([run] if run else []), *patterns]
    others = [text for text in given if text not in patterns]
    if len(runs) > 1 or (runs and others):
        raise UserError(
            f"init: a training run stands alone, found {', '.join([*runs, *others])}; give one --run, one pattern, or "
            f"checkpoints by name"
        )
    return (runs[0] if runs else None), others


def _derive(where: str, taken: Mapping[str, str]) -> str:
    """A name that is not taken: the last part of `where`, with the one before it where needed."""
    plain = where.partition("@")[0] if not where.startswith((".", "/", "~")) else where
    path = Path(plain).expanduser()
    parts = list((path.resolve() if plain.startswith(".") else path).parts)
    words = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-._") for part in parts[-2:]]
    words = [word for word in words if word] or ["checkpoint"]
    last, both = words[-1], "-".join(words)
    numbered = (f"{last}-{number}" for number in range(2, len(taken) + 4))
    for name in (last, both, *numbered):
        if name not in taken and name not in RESERVED:
            return name
    raise AssertionError("one of more numbers than names is free")


def write_study(
    path: str | Path,
    base: str,
    checkpoints: Mapping[str, str],
    task: str = "gsm8k",
    *,
    method: str | None = None,
    start: Mapping[str, float] | None = None,
    settings: Mapping[str, Any] | None = None,
    run: str | None = None,
    force: bool = False,
) -> str:
    """Check that checkpoints fit a base, from their headers, and write a study file for them.

    Args:
        path: the study file to write.
        base: hub id, local folder or mini name of the base; a model on the hub is downloaded.
        checkpoints: the fine-tunes likewise, by the names that the study gives them.
        task: the suite to search on.
        method: of merging; by default the one that extrapolates them all.
        start: a point to try first: coefficients by checkpoint, and the method's parameters.
        settings: further keys of the study, e.g. ``sampler.seed``, that are not as they are by default.
        run: a training run that the checkpoints come from, instead of `checkpoints`: its folder, or a pattern.
        force: replace an existing file.

    Returns:
        What was found and what to type next, as lines for people.

    Raises:
        UserError: the file exists, a name or the suite cannot be used, a model is not there, or a
            checkpoint does not fit the base; nothing is written then.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file, such as {path}/mine.yaml")
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"{path}: a study file ends in .yaml")
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; --force replaces it, or give another name")
    found = () if run is None else training_run(run)
    checkpoints = {c.name: c.folder for c in found} if found else checkpoints
    _check_names(checkpoints)
    for name in task.split(","):
        load_suite(name.strip())
    origin, opened = _open_models(base, checkpoints)
    reason, told = _chat(origin, opened)
    text = study_text(base, checkpoints, task, run=run, method=method, start=start, chat=reason)
    _write(path, with_settings(text, settings or {}))
    known = {c.name: c for c in found}
    return "\n".join(
        [
            _line("base", base, origin),
            *(
                f"{_line(name, checkpoints[name], each)}, fits the base{_trained(known.get(name))}"
                for name, each in opened.items()
            ),
            *told,
            f"Wrote {path}. Look it over, then:",
            f"    make search STUDY={path} TASK={task}",
            "or, without make:",
            f"    exme search {path} --task {task}",
        ]
    )


def _check_names(checkpoints: Mapping[str, str]) -> None:
    if not checkpoints:
        raise UserError("no checkpoint given; name at least one fine-tune of the base")
    for name in checkpoints:
        if not re.fullmatch(NAME, name) or name in RESERVED:
            raise UserError(
                f"checkpoint name '{name}': expected letters, digits, '_', '-' and '.', beginning "
                f"with a letter or digit, and none of {', '.join(RESERVED)}"
            )


def _open_models(base: str, checkpoints: Mapping[str, str]) -> tuple[Checkpoint, dict[str, Source]]:
    """Locate all models and compare their headers."""
    origin = Checkpoint("base", locate(base, who="base"))
    seen = {origin.folder.resolve(): "base"}
    opened = {}
    for name, where in checkpoints.items():
        checkpoint = open_checkpoint(name, locate(where, who=f"checkpoint '{name}'"), origin)
        twin = seen.setdefault(checkpoint.folder.resolve(), name)
        if twin != name:
            raise UserError(f"checkpoint '{name}': {where} is the same folder as '{twin}'")
        if isinstance(checkpoint, Checkpoint):
            check_fit(origin, checkpoint)
        opened[name] = checkpoint
    return origin, opened


def _chat(origin: Checkpoint, opened: Mapping[str, Source]) -> tuple[str, list[str]]:
    """Why prompts are to be rendered by the chat template, empty where they are not, and lines for people."""
    base = chat_template_of(origin.folder)
    found = {name: chat_template_of(each.folder) for name, each in opened.items()}
    trained = [name for name, t in found.items() if t is not None and t.is_instruct]
    if base is None:
        if not trained:
            return "", []
        told = (
            f"{trained[0]} was trained on a chat template, and the base's tokenizer, which all candidates have, brings none: "
            f"prompts are plain text. To search with it, put its chat_template.jinja (or that key of its "
            f"tokenizer_config.json) beside the base's tokenizer, and set chat.apply_chat_template to true."
        )
        return "", [told]
    if base.is_instruct:
        reason = f"an instruct base: turns of its template end at {base.ends_turns[0]}, as its answers do"
    elif trained:
        reason = f"{trained[0]} was trained on the template that the base brings"
    else:
        told = (
            f"base: brings a chat template, but its answers end at {' or '.join(base.ends) or 'no known token'}, which ends no turn there: taken for a "
            f"plain model. Set chat.apply_chat_template to true where the checkpoints were trained on it."
        )
        return "", [told]
    return reason, [f"apply_chat_template: true ({reason})."]


def _trained(checkpoint: TrainingCheckpoint | None) -> str:
    """How far a checkpoint of a training run was trained."""
    if checkpoint is None:
        return ""
    step = "" if checkpoint.step is None else f"; step {checkpoint.step:,}"
    return step + ("" if checkpoint.loss is None else f", loss {checkpoint.loss:.4g}")


def _line(name: str, where: str, checkpoint: Source) -> str:
    if isinstance(checkpoint, Adapter):
        return f"{name}: {where}, a LoRA adapter of rank {checkpoint.config['r']}"
    elements = sum(_count(spec.shape) for spec in checkpoint.tensors.values())
    return f"{name}: {where}, {elements / 1e6:,.1f}M parameters in {checkpoint.dtype}"


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all, after reading it as a study."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        try:
            load_study_file(partial)
        except UserError as error:
            raise UserError(str(error).replace(str(partial), str(path))) from None
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        with contextlib.suppress(OSError):  # gone to its place, or never there
            partial.unlink()
