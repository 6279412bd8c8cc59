"""What is needed to repeat a search: versions, seeds, fingerprints, the command."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata

from exme.search.merging.folders import chat_template_of
from exme.search.merging.sources import Sources
from exme.search.scoring import Precision
from exme.search.study import StudyFile
from exme.tasks import SuiteDocuments

# How prompts are told that a chat template rendered.
RENDERED = "rendered by the base's chat template"
_LIBRARIES = ("torch", "transformers", "lm_eval", "optuna", "datasets", "safetensors", "scipy")


def prompts_text(study: StudyFile, *, brings: bool) -> str:
    """Which prompts a study uses, in words.

    Args:
        brings: the base has a chat template.
    """
    chat = study.chat
    if not chat.apply_chat_template:
        return f"plain text{', though the base brings a chat template' * brings}"
    turns = "as turns" if chat.fewshot_as_multiturn else "in one turn"
    system = f", system prompt {chat.system_instruction!r}" if chat.system_instruction else ""
    return f"{RENDERED}, few-shot examples {turns}{system}"


def facts(
    study: StudyFile,
    where: str,
    sources: Sources,
    documents: Sequence[SuiteDocuments],
    precision: Precision,
    engine: str,
) -> dict[str, str]:
    """Facts about a search by name, for its report and its export.

    Args:
        study: the study file; `where` is what messages call it.
        where: path of the study file.
        engine: which engine answers, and why, as `Worker.engine_name` says it.
    """
    suites = {}
    for found in documents:
        suite = found.suite
        tasks = ", ".join(suite.lm_eval_tasks)
        suites[f"suite {suite.suite}"] = (
            f"version {suite.version}, lm-eval task {tasks}, metric {suite.metric_name}"
        )
        if found.near_duplicates:
            suites[f"near-duplicates in {suite.suite}"] = "; ".join(
                " = ".join(pair) for pair in found.near_duplicates[:20]
            )
    brings = chat_template_of(sources.base.folder) is not None
    return {
        "command": " ".join(["exme", *sys.argv[1:]]),
        "study file": where,
        "base": study.base,
        **{f"checkpoint {name}": place for name, place in study.checkpoints.items()},
        **{f"fingerprint of {n}": f for n, f in sources.fingerprints.items()},
        **suites,
        "measure": study.measure.rpartition("/")[2].replace(".py:", ":"),
        "method": ", ".join(study.methods),
        **({"directions": ", ".join(study.directions)} if study.directions else {}),
        "data": study.data,
        "seed of documents": str(study.documents.seed),
        "prompts": prompts_text(study, brings=brings),
        "sampler": f"{study.sampler.name}, seed {study.sampler.seed}",
        "dtype": f"{precision.dtype}, computed in {precision.compute}",
        "device": f"{precision.device}, batches of {study.batch_size}",
        "engine": engine,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}", f"exme {metadata.version('exme')}"]
            + [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
        ),
    }
