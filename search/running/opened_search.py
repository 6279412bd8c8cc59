"""Opening a study for searching: its models, documents and storage, and all that takes part in a search."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from exme.search.merging import SPREAD, Groups
from exme.search.merging.sources import Sources
from exme.search.opening import (
    KEPT,
    Workshop,
    agree,
    available_memory,
    check_inputs,
    check_memory,
    facts,
    fingerprints_of,
    give_back_memory,
    join_study,
    load_also_documents,
    load_study_documents,
    measure,
    objective_of,
    open_sources,
    pinned_facts,
    sample,
    set_aside,
    settled_of,
    sources_of,
    study_of,
    take_references,
    weigh,
)
from exme.search.proof import name_also
from exme.search.proposing import Settled
from exme.search.scoring import (
    Precision,
    Scorer,
    Worker,
    choose_engine,
    load_measure,
    settle_precision,
)
from exme.search.storage import Storage, check_writable, run_folder
from exme.search.study import StudyFile, pick_suites
from exme.search.trials import Objective
from exme.tasks import SuiteDocuments

from .screen import Screen
from .stored_search import RUNS, StoredSearch

NOT_COMPARED = "Inputs were not compared with their own models: too little memory."
COMPUTED_ELSEWHERE = "Another process is computing the study's directions; waiting for it."


class OpenedSearch(StoredSearch):
    """A study as it is opened for searching: what it merges, what on, what proposes, who scores, where results go.

    Args and errors: see `Search`.
    """

    storage: Storage

    def __init__(
        self,
        study: StudyFile,
        name: str,
        task: str,
        *,
        runs: Path = RUNS,
        where: str = "study",
        screen: Screen | None = None,
        worker: Callable[[Sequence[SuiteDocuments]], Scorer] | None = None,
        fork: bool = False,
    ) -> None:
        suites = pick_suites(study, task, where)
        self.screen = screen or Screen()
        self.screen.note("Reading the checkpoints")
        self._file, self._found = study, open_sources(study)
        base = self._found.base
        self.engine = choose_engine(study, base.config)
        self.precision: Precision = settle_precision(study, base.dtype, self.engine.name)
        self.screen.note("Reading the documents")
        self.documents = [load_study_documents(study, suite) for suite in suites]
        self.also = load_also_documents(study, self.documents, where)
        self.make_worker = worker
        self.workers = 1  # processes that search here, side by side
        self._worker: Scorer | None = worker(self.documents) if worker else None
        self._engine_name: str = study.engine
        self.measure = load_measure(study.measure)
        objective = objective_of(study, self.documents, self.measure)
        spec = study.groups.spec if study.groups is not None else {}
        floats = [n for n, tensor in base.tensors.items() if tensor.is_float]
        self._groups = Groups(spec, floats).labels if spec else ()
        self.folder, self.storage = join_study(
            run_folder(runs, name, task),
            study.storage,
            pinned_facts(
                study, self.documents, self._found, self.precision, objective, self.measure
            ),
            self.documents,
            where=where,
            say=self.screen.say,
            fork=fork,
            directions=objective.directions,
        )
        self.storage.record.set_goal(objective.goal)
        name_also(self.storage, self.also)
        settled, task = self._enter(), task.replace(",", "+")
        super().__init__(self.study, name, task, self.folder, self.storage, settled, where)

    def _enter(self) -> Settled:
        """Go by what is known of a training run's checkpoints: all are ranked, or those that were kept are searched with."""
        self._is_settled = False
        self.study = study_of(self._file, self.storage.record)
        self.sources = sources_of(self._found, self.study)
        self.weights = weigh(self.sources, self.precision)
        self._workshop = Workshop(
            self.study, self.sources, self.documents, self.precision, self.folder, self.screen.say
        )
        self._directions = self._workshop.present()
        self._is_settled = False
        return self._settle(objective_of(self.study, self.documents, self.measure))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.screen.close()
        self.storage.close()
        if isinstance(self._worker, Worker):
            self._worker.close()

    def _settle(self, objective: Objective) -> Settled:
        """What is settled now, of what the study asks for: all of it once `settle` was called.

        Args:
            objective: what is maximised.
        """
        records = None
        if self._directions is not None and self.study.directions:
            records = agree(self._directions, self.storage, self.folder)
            checkpoints = {**self.sources.checkpoints, **self._directions.vectors}
            self.sources = Sources(self.sources.base, checkpoints, others=self.sources.others)
            self.weights = weigh(self.sources, self.precision)
        return settled_of(
            self.study,
            self.storage.record,
            objective,
            self._groups,
            records,
            {d.suite.suite: [e.id for e in d.search] for d in self.documents},
            self.precision.dtype,
            self._found.fingerprints | self.sources.fingerprints,
        )

    def keep(self, names: Sequence[str]) -> None:
        """Go on with these checkpoints of a training run, or those that another process has agreed on."""
        self.storage.record.agree_on(KEPT, list(names))
        if self._file.directions:
            self.rest()  # (they are further sources)
        self.settled = self._enter()

    def settle(self) -> None:
        """Compute what the study needs before its first trial: directions, references, inner products of task vectors.

        Once in this object's life.

        Raises:
            UserError: something of it cannot be computed, or nothing that is found could be kept.
        """
        if self._is_settled:
            return
        check_writable(self.folder)
        sample(self.sources, self.storage, self.screen.say)
        if self._directions is None:
            with self.storage.hold("directions", lambda: self.screen.say(COMPUTED_ELSEWHERE)):
                self._directions = self._workshop.compute()
            self.settled = self._settle(self.settled.objective)
        self._check_inputs()
        self._take_references()
        measure(
            self.study,
            self.settled.plan.method.checkpoints,
            self.sources,
            self.storage,
            self.screen.say,
        )
        self.settled = self._settle(self.settled.objective)
        self.describe()
        self._is_settled = True

    @property
    def worker(self) -> Scorer:
        """The worker; models are loaded at its first use."""
        if self._worker is None:
            self._worker = self.local_worker()
        return self._worker

    def local_worker(self) -> Worker:
        """A worker of this process.

        Raises:
            UserError: the models do not fit into memory, or cannot be loaded.
        """
        finds_out = self.study.device == SPREAD or self.engine.name == "vllm"
        if not finds_out:
            check_memory(self.weights, self.precision, self.study.residence)
        self.screen.note("Loading the models")
        drafts = self.folder / "drafts.jsonl"
        worker = Worker(self.study, self.sources, self.documents, self.precision, drafts)
        set_aside()
        for line in worker.live.told:
            self.screen.say(line)
        return worker

    def rest(self) -> None:
        """Give the worker's memory back; its next use loads the models again."""
        if isinstance(self._worker, Worker):
            self._engine_name = self._worker.engine_name
            self._worker.close()
            self._worker = None
            give_back_memory()

    def _check_inputs(self) -> None:
        """Refuse to begin with an input that is not what its folder holds."""
        if self._worker is None or isinstance(self._worker, Worker):  # (others have no models)
            own: Callable[[], Worker] = lambda: cast("Worker", self.worker)  # noqa: E731
            if self.engine.name == "vllm":
                if self.weights.live + self.weights.sources > 0.7 * available_memory():
                    self.screen.say(NOT_COMPARED, "yellow")
                    return
                own = functools.cache(self.worker_here)
            check_inputs(
                own,
                self.inputs(),
                fingerprints_of(self._found, self.precision),
                self.storage,
                self.folder,
                self.screen.say,
                self.screen.note,
            )

    def worker_here(self) -> Worker:
        """A worker whose model is in this process, for what is asked of a model beside its answers."""
        if self.engine.name != "vllm":
            return self.local_worker()
        study = self.study.model_copy(update={"engine": "stock"})
        here = replace(self.precision, device="cpu", engine="stock")
        return Worker(study, self.sources, self.documents, here)

    def _take_references(self) -> None:
        """Give documents the reference answers that they lack, the same for all workers."""
        if self.study.measure == "target_nll":
            inputs = [c for name, c in self.inputs().items() if name in self.study.checkpoints]
            if self.settled.halving is not None:
                inputs = inputs[-self.settled.halving.best :]
            self.documents = take_references(
                self.documents,
                inputs,
                lambda: self.worker,
                self.storage,
                self.screen.say,
                self.screen.note,
            )
            if isinstance(self._worker, Worker):
                self._worker.take_documents(self.documents)

    def describe(self) -> None:
        """Keep with the trials what the study says, for those who only read them."""
        self.storage.record.describe(
            {
                "study": self._file.model_dump(mode="json", exclude={"storage"}),
                "name": self.name,
                "task": self.task,
                "groups": list(self._groups),
                "sources": dict(self.settled.sources),
                "facts": dict(self.facts()),
            }
        )

    def facts(self) -> Mapping[str, str]:
        """What is needed to repeat the search."""
        engine = getattr(self._worker, "engine_name", self._engine_name)
        return facts(self.study, self.where, self.sources, self.documents, self.precision, engine)
