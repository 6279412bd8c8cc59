"""What is needed to repeat a search: versions, seeds, fingerprints, the command."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata

from exme.search.merging.sources import Sources
from exme.search.scoring import Precision
from exme.search.study import StudyFile
from exme.tasks import SuiteDocuments

NO_TEMPLATE = "no template"  # of a chat model
_LIBRARIES = ("torch", "transformers", "lm_eval", "optuna", "datasets", "safetensors", "scipy")


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
        sources: base and checkpoints.
        documents: the documents of each suite.
        precision: dtypes and device.
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
    chat = study.chat.model_dump() if study.chat.apply_chat_template else NO_TEMPLATE
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
        "chat": str(chat),
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
