"""The papers of an export: model card, scores, recipe; what it is and how to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from exme.evaluators import DocumentScores, Scores, metric_text
from exme.search.merging import Candidate
from exme.search.merging.folders import obstacle
from exme.search.merging.methods import METHODS, PLAIN
from exme.search.merging.sources import is_hub_id
from exme.search.opening import RENDERED
from exme.search.proof import Outcome
from exme.search.reports.pages import also_section, markdown_of, table
from exme.search.statistics import mean_interval
from exme.search.study import read
from exme.search.trials import (
    Standing,
    Unit,
    counted,
    joined,
    scores_seen,
    standing_of,
    standings,
)

from .gguf import CONVERTER
from .licences import common_licence, licence_section
from .lm_eval_results import model_index
from .repeat import STUDY, public_data


def model_card(
    outcome: Outcome,
    *,
    names: Mapping[str, str],
    verdict: str,
    licences: Mapping[str, Mapping[str, str]],
    taken: str,
    version: str,
    place: str = ".",
    tasks: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> str:
    """The README.md of an export; it names no folder, machine or user.

    Args:
        outcome: the search; it has a winner.
        names: where the base (key ``base``) and each checkpoint came from, as may be told (`public_names`).
        verdict: the one honest sentence about the winner.
        licences: front matter of each source that states its licence, by the keys of `names`.
        taken: where the tokenizer and the chat template came from, in a sentence.
        version: version of this package.
        place: from where people load it: a repository on the hub, or ``.`` for the folder itself.
        tasks: lm-eval tasks that it was searched on.
        missing: folders and files that the study names and a search needs beside it.

    Raises:
        ValueError: the search has no winner.
    """
    if outcome.winner is None or outcome.winner.candidate is None:
        raise ValueError(f"study {outcome.study}: no winner to write a card for")
    candidate = outcome.winner.candidate
    parts = [
        _front_matter(outcome, names, licences),
        f"# {outcome.study}: a merge found for {outcome.task}",
        verdict,
        (
            f"Found by ExMe {version} among {counted(outcome.trials)}, without training: trial {outcome.winner.number} "
            f"({outcome.winner.origin})."
        ),
        "## Use",
        _use(outcome, candidate, place, tasks),
        "## Coefficients",
        _coefficients(candidate, names),
        f"Accumulated in float32 and rounded once to {candidate.dtype}. {taken}",
        "## Scores",
        _scores(outcome),
        _elsewhere(outcome),
        "## How to repeat",
        _repeat(outcome, names, missing),
        "## Licence",
        licence_section(names, licences),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(
    outcome: Outcome, names: Mapping[str, str], licences: Mapping[str, Mapping[str, str]]
) -> str:
    on_hub = [name.partition("@")[0] for name in names.values() if is_hub_id(name)]
    front: dict[str, Any] = {}
    if on_hub:
        front = {"base_model": on_hub, "base_model_relation": "merge"}
    front |= {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["merge", "exme"],
        **common_licence(names, licences),
    }
    proved = outcome.merged.report if outcome.merged is not None else None
    shown = proved or (outcome.winner.scores if outcome.winner is not None else None)
    if shown is not None:
        front["model-index"] = model_index(f"{outcome.study}-{outcome.task}", shown.parts)
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"


_GGUF = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def _use(outcome: Outcome, candidate: Candidate, place: str, tasks: Sequence[str]) -> str:
    here = "In this folder:\n\n" if place == "." else ""
    tested = ",".join(tasks) or outcome.task.replace("+", ",")
    if outcome.facts.get("prompts", "").startswith(RENDERED):
        tested += " --apply_chat_template"
    return f"""{here}```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{place}", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained("{place}")
```

| with | command |
|---|---|
| vLLM | `vllm serve {place}` |
| lm-eval | `lm_eval --model hf --model_args pretrained={place},dtype={candidate.dtype} --tasks {tested}` |
| llama.cpp, in the folder | `python llama.cpp/{CONVERTER} . --outfile merged.gguf --outtype {_GGUF[candidate.dtype]}` |"""


def _coefficients(candidate: Candidate, names: Mapping[str, str]) -> str:
    coefficients = candidate.coefficients
    reading = read(coefficients)
    share = reading.beta or {}
    rows = [
        [name, _code(names.get(name, name)), f"{c:g}", f"{share[name]:.4f}" if share else ""]
        for name, c in coefficients.items()
    ]
    terms = [f" + {c:g} ({name} - base)" for name, c in coefficients.items() if c]
    formula = f"    weights = base{''.join(terms)}"
    if candidate.method not in PLAIN:
        method = METHODS[candidate.method]
        own = ", ".join(f"{name} {value:g}" for name, value in candidate.parameters.items())
        formula = f"{method.title} ({method.paper}){': ' + own if own else ''}."
    if candidate.grouped:
        formula += "\n\nCoefficients by group of tensors; the table has their means.\n\n"
        formula += table(
            ["group", *coefficients],
            [
                [label, *(f"{values[name]:g}" for name in coefficients)]
                for label, values in candidate.grouped.items()
            ],
        )
    return "\n".join(
        [
            formula,
            "",
            table(["checkpoint", "model", "coefficient c", "beta"], rows),
            "",
            (
                f"base: {_code(names.get('base', 'base'))}."
                if reading.alpha is None
                else f"base: {_code(names.get('base', 'base'))}. As people read it: alpha "
                f"{reading.alpha:+.4f}, where 1 + alpha is the sum of the coefficients and "
                f"beta = c / (1 + alpha): the mix beta of the checkpoints, extrapolated by alpha from "
                f"the base."
            ),
        ]
    )


def _scores(outcome: Outcome) -> str:
    winner = outcome.winner
    assert winner is not None
    assert winner.candidate is not None
    known = standings(outcome.trials)
    rows, metrics = list[list[str]](), list[str]()
    shown: list[tuple[str, Candidate, Scores | None, Scores | None]] = [
        (e.name, e.candidate, e.search, e.report) for e in outcome.inputs
    ]
    is_input = any(c.digest == winner.candidate.digest for _, c, *_ in shown)
    if not is_input:
        proof = outcome.merged.report if outcome.merged is not None else None
        shown.append(("merged", winner.candidate, winner.scores, proof))
    for name, candidate, search, report in shown:
        found = standing_of(known, candidate.digest)
        searched = _expected(found) if found is not None else _score(search)
        rows.append([name, searched, _score(report)])
        metrics += [_metric(part) for s in (search, report) if s is not None for part in s.parts]
    metrics = list(dict.fromkeys(metrics or map(_metric, scores_seen(winner).parts)))
    mean = "The mean of " if len(metrics) > 1 else ""
    lines = [f"{mean}{joined(metrics)}, by lm-eval, with 95% intervals.", ""]
    lines.append(table(["model", "expected by the search documents", "report documents"], rows))
    if outcome.merged is None:
        told = "this is one of the inputs." if is_input else "not proved."
        told = told if outcome.inputs else "not proved yet."
        lines += ["", f"On the report documents: {told}"]
    return "\n".join(lines)


def _metric(part: DocumentScores) -> str:
    return f"{part.suite} {metric_text(part)}"


def _elsewhere(outcome: Outcome) -> str:
    """What is known of suites that were not searched on."""
    section = also_section(outcome)
    if section is not None:
        return markdown_of(section)
    searched = joined(outcome.task.split("+"))
    return (
        f"It was scored on {searched} alone: what merging changed elsewhere was not measured (a study names suites for that "
        f"in `also`)."
    )


def _expected(found: Standing) -> str:
    """What a candidate is expected to score by the search documents."""
    return f"{found.unit.line(found.interval)}, n = {found.count}"


def _score(scores: Scores | None) -> str:
    if scores is None:
        return ""
    return f"{Unit([scores]).line(mean_interval(scores))}, n = {scores.count}"


def _repeat(outcome: Outcome, names: Mapping[str, str], missing: Sequence[str]) -> str:
    rows = [[key, _code(value)] for key, value in _public_facts(outcome.facts, names).items()]
    winner = outcome.winner.candidate if outcome.winner is not None else None
    reason = obstacle(winner) if winner is not None else ""
    beside = f" It needs beside it: {', '.join(map(_code, missing))}." if missing else ""
    tasks = outcome.task.replace("+", ",")
    lines = [
        f"The search, with the same documents and seeds: `exme search {STUDY} --task {tasks}`.{beside}",
        "",
        (
            f"This merge alone: `exme materialise exme_recipe.json --out merged`. mergekit cannot make it: {reason}."
            if reason
            else "This merge alone: `exme materialise exme_recipe.json --out merged`, or, up to rounding, "
            "`mergekit-yaml mergekit_config.yml merged`."
        ),
        "",
        (
            "`exme_recipe.json` holds the candidate, the fingerprints of its inputs and the digest of "
            "its weights; `exme_scores.json` every score behind the table, document by document; "
            "`lm_eval_results.json` the merge's scores as lm-eval writes them."
        ),
    ]
    return "\n".join([*lines, "", table(["", "value"], rows)] if rows else lines)


# What says where a search ran; the study beside the card says the rest.
_PRIVATE_FACTS = ("command", "study file")


def _public_facts(facts: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    told = {key: value for key, value in facts.items() if key not in _PRIVATE_FACTS}
    places = {"base": names.get("base", "")}
    places |= {f"checkpoint {name}": place for name, place in names.items()}
    told |= {key: place for key, place in places.items() if key in told}
    if "data" in told:
        told["data"] = public_data(told["data"])
    return told


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def scores_file(outcome: Outcome) -> str:
    """Content of exme_scores.json: per-document scores of the winner and of every input."""
    scored: dict[str, tuple[Scores | None, Scores | None]] = {
        entry.name: (entry.search, entry.report) for entry in outcome.inputs
    }
    if outcome.winner is not None:
        proof = outcome.merged.report if outcome.merged is not None else None
        scored["merged"] = (scores_seen(outcome.winner), proof)
    content = {
        name: {"search": search and _as_lm_eval(search), "report": report and _as_lm_eval(report)}
        for name, (search, report) in scored.items()
    }
    return json.dumps(content, indent=1) + "\n"


def _as_lm_eval(scores: Scores) -> dict[str, Any]:
    """Scores as JSON, with the metric's own values."""
    parts = [
        part.to_json() | {"values": [part.scale.turn(value) for value in part.values]}
        for part in scores.parts
    ]
    return parts[0] if len(parts) == 1 else {"parts": parts}
