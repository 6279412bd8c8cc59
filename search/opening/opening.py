"""What a search opens before it begins: models, suites, documents; and what pins its scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from exme.evaluators.harness import settle, task_order
from exme.search.merging.sources import Sources, open_models
from exme.search.proposing import Plan
from exme.search.scoring import Measure, Precision
from exme.search.study import DocumentsSection, StudyFile, pick_suites
from exme.search.trials import Objective
from exme.tasks import Suite, SuiteDocuments, load_documents

from .kinship import kinship_of

# What a study of a training run pins beside its checkpoints: how many of them are kept.
_BEST = "best of the training run"


def pinned_facts(
    study: StudyFile,
    documents: Sequence[SuiteDocuments],
    sources: Sources,
    precision: Precision,
    objective: Objective,
    measure: Measure | None = None,
) -> dict[str, object]:
    """What decides scores; a study cannot go on when one of these changes."""
    return {
        "method": study.method if len(study.methods) == 1 else list(study.methods),
        "groups": study.groups.spec if study.groups is not None else None,
        "checkpoints": list(study.checkpoints),
        **({_BEST: run.best} if (run := study.training_run) else {}),
        "directions": list(study.directions) or None,
        "measure": study.measure if measure is None else f"{measure.name} {measure.digest}",
        # (it decides how many values Optuna holds of a trial)
        **({"goal": "pareto"} if objective.values_per_trial > 1 else {}),
        "suites": [
            [d.suite.suite, d.suite.version, d.suite.metric_name, list(d.suite.lm_eval_tasks)]
            + ["lower is better"] * (d.suite.higher_is_better is False)
            for d in documents
        ],
        "data": study.data,
        "documents": study.documents.model_dump(),
        "content of the documents": [d.fingerprint for d in documents],
        "chat": study.chat.model_dump(),
        "max_gen_toks": study.max_gen_toks,
        "dtype": precision.dtype,
        "compute_dtype": precision.compute,
        # (its sums have another order than the others', which agree)
        **({"engine": "vllm"} if precision.engine == "vllm" else {}),
        "content of the checkpoints": sources.fingerprints,
        "settings of the base": sources.base.settings_fingerprint,
    }


def open_sources(study: StudyFile) -> Sources:
    """The base and the checkpoints of a study, adapters resolved.

    Raises:
        UserError: one cannot be found, is there twice, or does not fit the base.
    """
    base, checkpoints = open_models(study.base, study.checkpoints)
    return Sources(base, checkpoints, union=study.vocabulary == "union")


def load_study_documents(study: StudyFile, suite: Suite) -> SuiteDocuments:
    """A suite's documents, of which lm-eval's tasks have made prompts (`settle`).

    Raises:
        UserError: data are missing, or the suite cannot be used with them.
    """
    return settle(_load(study, suite, study.documents))


def _load(study: StudyFile, suite: Suite, wanted: DocumentsSection) -> SuiteDocuments:
    """A suite's documents as a study has them, before prompts are made of them."""
    found = load_documents(
        suite,
        study.data,
        search=wanted.search,
        report=wanted.report,
        seed=wanted.seed,
        order=task_order(suite),
    )
    if study.max_gen_toks is None:
        return found
    limited = found.suite.model_copy(update={"max_gen_toks": study.max_gen_toks})
    return replace(found, suite=limited)


def load_also_documents(
    study: StudyFile, searched: Sequence[SuiteDocuments], where: str
) -> list[SuiteDocuments]:
    """Report documents of the suites that `also` names and that are not searched on: as many as the study asks for, or there are.

    Raises:
        UserError: data are missing, or a suite cannot be used with them.
    """
    if not study.also:
        return []
    named = pick_suites(study.model_copy(update={"suites": study.also}), "all", where)
    known = {documents.suite.suite for documents in searched}
    found = []
    for suite in named:
        if suite.suite in known:
            continue
        every = _load(study, suite, DocumentsSection(search=None, seed=study.documents.seed))
        part = replace(
            every, search=every.search[:1], report=every.report[: study.documents.report]
        )
        found.append(settle(part))
    return found


def remarks(
    plan: Plan, sources: Sources, documents: Sequence[SuiteDocuments]
) -> Iterator[tuple[str, str]]:
    """What is special about a study, to be said as it begins: lines and their styles."""
    if plan.proposals.is_special:
        yield plan.proposals.size, ""
    for name, shift in plan.too_far() if plan.shift is not None else ():
        yield f"Not tried: {name}, whose shift of {shift:.2f} is beyond the bound.", ""
    for line in sources.union.report if sources.union is not None else ():
        yield line, ""
    for line in kinship_of(sources):
        yield line, "yellow"
    for suite in documents:
        if suite.suite.of_lm_eval or suite.suite.higher_is_better is False:
            yield describe_suite(suite.suite), ""
        if suite.repeats:
            yield _describe_repeats(suite), "yellow"
        if suite.near_duplicates:
            yield _describe_duplicates(suite), "yellow"


def describe_suite(suite: Suite) -> str:
    """How a suite judges, where that was chosen by rule or is not as most."""
    way = "lower" if suite.higher_is_better is False else "higher"
    shots = suite.fewshot.count
    drawn = f"{shots} examples" + (f" of {suite.fewshot.split}" if suite.fewshot.split else "")
    of = "lm-eval's task, " * suite.of_lm_eval
    same = suite.search.split == suite.report.split
    splits = (
        f"halves of {suite.report.split}"
        if same
        else f"search on {suite.search.split}, report on {suite.report.split}"
    )
    return f"Suite '{suite.suite}': {of}{splits}, {drawn if shots else 'no examples'}, {suite.metric} ({way} is better)."


def _describe_repeats(documents: SuiteDocuments) -> str:
    return (
        f"Suite '{documents.suite.suite}': {documents.repeats} rows of its data are others again, column for column, and "
        f"are left out: models answer both alike, and a gain would look surer than it is."
    )


def _describe_duplicates(documents: SuiteDocuments) -> str:
    pairs = documents.near_duplicates
    first = " and ".join(pairs[0])
    return (
        f"Suite '{documents.suite.suite}': {len(pairs)} documents of different parts (few-shot, "
        f"search, report) read the same, e.g. {first}; take one of each out of the data, or what is proved may be remembered."
    )
