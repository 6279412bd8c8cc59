"""What a search opens before it begins: models, suites, documents; and what pins its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from exme.evaluators.sandbox import require_run_generated_code
from exme.tasks.documents import SuiteDocuments, load_documents
from exme.tasks.errors import UserError, did_you_mean
from exme.tasks.suite import Suite, load_suite

from .adapter import open_checkpoint
from .checkpoint import Checkpoint
from .locate import locate
from .objective import Objective
from .resident import Sources
from .study_file import StudyFile
from .worker import Precision


def pinned_facts(
    study: StudyFile,
    documents: Sequence[SuiteDocuments],
    sources: Sources,
    precision: Precision,
    objective: Objective,
) -> dict[str, object]:
    """What decides scores; a study cannot go on when one of these changes."""
    return {
        "method": study.method if len(study.methods) == 1 else list(study.methods),
        "groups": study.groups.spec if study.groups is not None else None,
        "checkpoints": list(study.checkpoints),
        "directions": list(study.directions) or None,
        "objective": study.objective,
        # (it decides how many values Optuna holds of a trial)
        **({"goal": "pareto"} if objective.values_per_trial > 1 else {}),
        "suites": [
            [d.suite.suite, d.suite.version, d.suite.metric_name, list(d.suite.lm_eval_tasks)]
            for d in documents
        ],
        "data": study.data,
        "documents": study.documents.model_dump(),
        "content of the documents": [d.fingerprint for d in documents],
        "chat": study.chat.model_dump(),
        "max_gen_toks": study.max_gen_toks,
        "dtype": precision.dtype,
        "compute_dtype": precision.compute,
        "content of the checkpoints": sources.fingerprints,
        "settings of the base": sources.base.settings_fingerprint,
    }


def open_sources(study: StudyFile) -> Sources:
    """The base and the checkpoints of a study, adapters resolved.

    Raises:
        UserError: one cannot be found, or does not fit the base.
    """
    base = Checkpoint("base", locate(study.base, who="base"))
    checkpoints = {
        name: open_checkpoint(name, locate(where, who=f"checkpoint '{name}'"), base)
        for name, where in study.checkpoints.items()
    }
    return Sources(base, checkpoints, union=study.vocabulary == "union")


def pick_suites(study: StudyFile, task: str, where: str) -> list[Suite]:
    """The suites that a task names, in the study's order."""
    known = {suite.suite: suite for suite in map(load_suite, study.suites)}
    wanted = list(known) if task == "all" else [name.strip() for name in task.split(",")]
    for name in wanted:
        if name not in known:
            raise UserError(
                f"{where}: suite '{name}' is not in suites (have: {', '.join(known)})"
                f"{did_you_mean(name, known)}"
            )
    picked = [suite for name, suite in known.items() if name in wanted]
    for suite in picked:
        if suite.runs_code:
            require_run_generated_code(study.run_generated_code, suite.suite, where)
    return picked


def load_study_documents(study: StudyFile, suite: Suite) -> SuiteDocuments:
    found = load_documents(
        suite,
        study.data,
        search=study.documents.search,
        report=study.documents.report,
        seed=study.documents.seed,
    )
    if study.max_gen_toks is None:
        return found
    limited = found.suite.model_copy(update={"max_gen_toks": study.max_gen_toks})
    return replace(found, suite=limited)


def describe_duplicates(documents: SuiteDocuments) -> str:
    pairs = documents.near_duplicates
    first = " and ".join(pairs[0])
    return (
        f"Suite '{documents.suite.suite}': {len(pairs)} documents of different parts (few-shot, "
        f"search, report) read the same, e.g. {first}."
    )
