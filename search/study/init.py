"""`exme init`: a commented study file for a base and its fine-tunes, once they are known to fit."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from exme.search.merging.sources import MINI, Checkpoint, Source, check_fit, locate, open_checkpoint
from exme.tasks import UserError, load_suite

from .study_file import NAME, RESERVED, load_study_file


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
    _check_names(checkpoints)
    for name in task.split(","):
        load_suite(name.strip())
    lines = _check_models(base, checkpoints)
    text = _study(base, checkpoints, task, method, start or {})
    _write(path, _with(text, settings or {}))
    return "\n".join(
        [
            *lines,
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


def _check_models(base: str, checkpoints: Mapping[str, str]) -> list[str]:
    """Locate all models and compare their headers; a line on each."""
    origin = Checkpoint("base", locate(base, who="base"))
    seen = {origin.folder.resolve(): "base"}
    lines = [_line("base", base, origin)]
    for name, where in checkpoints.items():
        checkpoint = open_checkpoint(name, locate(where, who=f"checkpoint '{name}'"), origin)
        twin = seen.setdefault(checkpoint.folder.resolve(), name)
        if twin != name:
            raise UserError(f"checkpoint '{name}': {where} is the same folder as '{twin}'")
        if isinstance(checkpoint, Checkpoint):
            check_fit(origin, checkpoint)
        lines.append(f"{_line(name, where, checkpoint)}, fits the base")
    return lines


def _line(name: str, where: str, checkpoint: Source) -> str:
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


def _study(
    base: str,
    checkpoints: Mapping[str, str],
    task: str,
    method: str | None,
    start: Mapping[str, float],
) -> str:
    width = max(len(name) for name in checkpoints)
    listed = [f"  {_scalar(name)}:{' ' * (width - len(name) + 1)}{_scalar(where)}"
              for name, where in checkpoints.items()]  # fmt: skip
    mini = all(where.startswith(MINI) for where in (base, *checkpoints.values()))
    return _TEMPLATE.format(
        base=_scalar(base),
        checkpoints="\n".join(listed),
        method=method or ("exme" if len(checkpoints) > 1 else "expo"),
        starts=yaml.safe_dump(
            [dict(start)] if start else [], default_flow_style=True, width=10_000, sort_keys=False
        ).strip(),
        task=task,
        data="mini" if mini else "hub",
        runs_code="false",
    )


def _with(text: str, settings: Mapping[str, Any]) -> str:
    """A study's text with other values of some keys; its comments stay."""
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        before = rf"{section}:[^\n]*\n(?:  [^\n]*\n)*?  " if section else ""
        pattern = re.compile(rf"^({before}{name}:\s+)([^#\n]*?)(?=\s*(?:#|$))", re.MULTILINE)
        told = yaml.safe_dump([value], default_flow_style=True, width=10_000)[1:-2]
        text, count = pattern.subn(lambda found, told=told: f"{found[1]}{told}", text)  # type: ignore[misc]  # a default
        assert count == 1, key
    return text


def _scalar(text: str) -> str:
    """A string as YAML reads it back, quoted where it must be."""
    return yaml.safe_dump([text], default_flow_style=True, width=10_000, allow_unicode=True)[1:-2]


_TEMPLATE = """\
# A study for ExMe: everything about one search. Written by `exme init`; change what you like.
# A merged model is  base + sum of c_i * (checkpoint_i - base),  and the search finds the c_i.

# Models: a hub id (owner/model, or owner/model@revision), a local folder, or mini/<name>.
base: {base}
checkpoints: # fine-tunes of that base, by the names that reports use
{checkpoints}

# exme:   every checkpoint has a coefficient of its own, extrapolation included
# expo:   one checkpoint, extrapolated from the base
# linear: a weighted mean of the checkpoints, no extrapolation
# ties, dare_ties, della, breadcrumbs, slerp, model_stock, ...: see docs/methods.md; several in
# brackets let the search choose
method: {method}
starts: {starts} # points to try first, e.g. [{{a: 0.7, b: 0.5}}] for checkpoints a and b
groups: null # coefficients per group of tensors: {{blocks: 4}} or {{kinds: [attention, mlp]}}
directions: [] # merge methods to start from, computed once: regmean, doge, ...: see docs/directions.md

space:
  coefficients: [0.0, 2.4] # 0 leaves a checkpoint out, 1 takes it whole, above 1 extrapolates

suites: [{task}] # what this study may search on: names (`exme suites`) or suite files of your own
data: {data}      # hub; mini: the small sets shipped with exme; or a folder with <suite>/<split>.jsonl
measure: metric # each suite's own, or target_nll: likelihood of reference answers, a smooth proxy
run_generated_code: {runs_code} # humaneval, mbpp need true: the sandbox runs what the model writes
max_gen_toks: null # most tokens of an answer; null leaves it to the suites

chat: # for models that were trained on a chat template; the names are lm-eval's
  apply_chat_template: false
  system_instruction: null
  fewshot_as_multiturn: true # few-shot examples as turns, where a template is applied

documents:
  search: 256  # candidates are compared on so many documents; null: all there are
  report: null # the winner is proved on so many others, which the search never sees; null: all
  seed: 0      # of their choice and order

sampler:
  name: auto # after the known points: auto (see docs/search.md), gp, cmaes, tpe, qmc or random
  seed: 0

racing:            # losers are rejected before all of their documents are scored; off: nobody is
  error_rate: 0.05 # chance to stop a candidate as good as the best so far, however often tested
  chunk: 32        # documents between two looks

goal: mean # over several suites: mean gain, worst (suite's gain), cvar (mean of the lowest), pareto
weights: {{}} # of suites in the mean: {{gsm8k: 2}}; 0 only watches a suite
tail: 0.5   # share of the suites that cvar is the mean over
keep: {{}}    # least gain on a suite, in points: {{mmlu: -0.5}} may lose half a point there
shift: null # {{bound: 0.5, penalty: 2}}: distance to the nearest checkpoint, 1 being the base's

budget: # the search ends at whichever comes first; null: no limit
  trials: 60      # candidates
  documents: null # documents scored, all trials together
  minutes: null
  gain: 0.5       # end when more documents are expected to bring fewer points than this

storage: null # URL of an Optuna storage; null: an SQLite file in studies/runs/
track: []     # copy trials to wandb, mlflow, to look at; each set up as its own documentation says

dtype: auto         # candidates are rounded to it and exported in it; auto: the base's
compute_dtype: auto # the model computes in it; auto: float32 on a CPU, dtype on a GPU
device: auto        # auto, cpu, cuda, cuda:1, ...; spread: all GPUs and memory
vocabulary: same    # the base's in all checkpoints; union: merged by token string
residence: auto     # sources on the device, in the host's memory, or mapped from disk
batch_size: 32      # rows that the model answers at once
engine: auto        # vllm on a GPU where installed; fast on a CPU; else stock, lm-eval's own model
vllm: {{}}            # its settings, e.g. {{tensor_parallel_size: 2}}: docs/how-to/gpu.md

trust_remote_code: false # true runs Python code that the base brings along
"""
