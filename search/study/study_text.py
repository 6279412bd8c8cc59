"""The study file that `exme init` writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from exme.search.merging.sources import MINI


def study_text(
    base: str,
    checkpoints: Mapping[str, str],
    task: str,
    *,
    run: str | None = None,
    method: str | None = None,
    start: Mapping[str, float] | None = None,
    chat: str = "",
) -> str:
    """A commented study file.

    Args:
        base: where the base is.
        checkpoints: where the checkpoints are, by name.
        task: the suite.
        run: the training run that they are of; None names them one by one.
        method: of merging; by default the one that extrapolates them all.
        start: a point to try first.
        chat: why prompts are rendered by the base's chat template; empty where they are not.
    """
    mini = all(where.startswith(MINI) for where in (base, *checkpoints.values()))
    several = len(checkpoints) > 1
    return TEMPLATE.format(
        base=_scalar(base),
        checkpoints=_named(checkpoints) if run is None else _RUN.format(run=_scalar(run)),
        method=method or ("exme" if several else "expo"),
        starts=yaml.safe_dump(
            [dict(start)] if start else [], default_flow_style=True, width=10_000, sort_keys=False
        ).strip(),
        task=", ".join(name.strip() for name in task.split(",")),
        data="mini" if mini else "hub",
        runs_code="false",
        chat=f"true # {chat}" if chat else "false",
    )


def _named(checkpoints: Mapping[str, str]) -> str:
    width = max(len(name) for name in checkpoints)
    listed = [f"  {_scalar(name)}:{' ' * (width - len(name) + 1)}{_scalar(where)}"
              for name, where in checkpoints.items()]  # fmt: skip
    head = "checkpoints: # fine-tunes of that base, by the names that reports use"
    return "\n".join([head, *listed])


def with_settings(text: str, settings: Mapping[str, Any]) -> str:
    """A study's text with other values of some keys; its comments stay.

    Args:
        text: as `study_text` makes it.
        settings: values by key, e.g. ``sampler.seed``.
    """
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


_RUN = """\
checkpoints: # of a training run; they are ranked first, and the search goes on with the best
  run: {run}
  best: 2 # 1 to 4"""

TEMPLATE = """\
# A study for ExMe: everything about one search. Written by `exme init`; change what you like.
# A merged model is  base + sum of c_i * (checkpoint_i - base),  and the search finds the c_i.

# Models: a hub id (owner/model, or owner/model@revision), a local folder, or mini/<name>.
base: {base}
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
also: [] # suites that the winner and the best input are scored on in the end: what else changed
data: {data}      # hub; mini: the small sets shipped with exme; or a folder with <suite>/<split>.jsonl
measure: metric # each suite's own, or target_nll: likelihood of reference answers, a smooth proxy
run_generated_code: {runs_code} # humaneval, mbpp need true: the sandbox runs what the model writes
max_gen_toks: null # most tokens of an answer; null leaves it to the suites

chat: # for models that were trained on a chat template; the names are lm-eval's
  apply_chat_template: {chat}
  system_instruction: null
  fewshot_as_multiturn: true # few-shot examples as turns, where a template is applied

documents:
  search: 256  # candidates are compared on so many documents; null: all there are
  report: null # the winner is proved on so many others, which the search never sees; null: all
  seed: 0      # of their choice and order

sampler:
  name: auto # after the known points: auto (see docs/search.md), gp, cmaes, tpe, qmc or random
  seed: 0

racing:            # losers are rejected before all of their documents are scored; off: none is
  error_rate: 0.05 # chance to stop a candidate as good as the best so far, however often tested
  chunk: 32        # documents between two tests

goal: mean # over several suites: mean gain, worst (suite's gain), cvar (mean of the lowest), pareto
weights: {{}} # of suites in the mean: {{gsm8k: 2}}; 0 only watches a suite
tail: 0.5   # share of the suites that cvar is the mean over
keep: {{}}    # least gain on a suite, in points: {{mmlu: -0.5}} may lose half a point there
shift: null # {{bound: 0.5, penalty: 2}}: distance to the nearest checkpoint, 1 being the base's

budget: # the search ends at whichever comes first; null: no limit
  trials: 60      # candidates
  documents: null # documents scored, all trials together
  minutes: null   # of scoring, all workers together
  hours: null     # on the clock, proof included
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
