"""Opening a study for searching: its models, documents and storage, and all that takes part in a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from exme.search.merging.candidate import Candidate
from exme.search.merging.methods import PLAIN
from exme.search.merging.resident import Sources
from exme.search.merging.spread import SPREAD
from exme.search.opening.cost import check_memory, give_back_memory, set_aside, weigh
from exme.search.opening.gram import measure
from exme.search.opening.joining import join_study
from exme.search.opening.opening import load_study_documents, open_sources, pinned_facts
from exme.search.opening.references import take_references
from exme.search.opening.settling import settle_objective, shift_of
from exme.search.opening.workshop import Workshop, agree
from exme.search.proposing.history import History
from exme.search.proposing.plan import Plan
from exme.search.proposing.settled import Settled
from exme.search.scoring.precision import Precision, choose_engine, settle_precision
from exme.search.scoring.worker import Scorer, Worker
from exme.search.study.space import unit
from exme.search.study.study_file import StudyFile
from exme.search.study.suites import pick_suites
from exme.search.trials.objective import Objective

from .screen import Screen

RUNS = Path("studies/runs")
COMPUTED_ELSEWHERE = "Another process is computing the study's directions; waiting for it."


class OpenedSearch:
    """A study as it is opened for searching: what it merges, what on, what proposes, who scores, where results go.

    Args and errors: see `Search`.
    """

    def __init__(
        self,
        study: StudyFile,
        name: str,
        task: str,
        *,
        runs: Path = RUNS,
        where: str = "study",
        screen: Screen | None = None,
        worker: Scorer | None = None,
        fork: bool = False,
    ) -> None:
        suites = pick_suites(study, task, where)
        self.study, self.name, self.task = study, name, task.replace(",", "+")
        self.where = where
        self.screen = screen or Screen()
        self.sources = open_sources(study)
        self.engine = choose_engine(study, self.sources.base.config)
        self.precision: Precision = settle_precision(
            study, self.sources.base.dtype, self.engine.name
        )
        self.weights = weigh(self.sources, self.precision)
        self.documents = [load_study_documents(study, suite) for suite in suites]
        self._worker: Scorer | None = worker
        self._engine_name: str = study.engine
        sizes = {found.suite.suite: len(found.search) for found in self.documents}
        objective = settle_objective(study, sizes, list(study.checkpoints))
        self.folder, self.storage = join_study(
            runs / f"{name}-{self.task}",
            study.storage,
            pinned_facts(study, self.documents, self.sources, self.precision, objective),
            self.documents,
            where=where,
            say=self.screen.say,
            fork=fork,
            objectives=objective.values_per_trial,
        )
        self.storage.record.set_goal(objective.goal)
        self._workshop = Workshop(
            study, self.sources, self.documents, self.precision, self.folder, self.screen.say
        )
        self._directions = self._workshop.present()
        self.settled = self._settle(objective)

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
            self.sources = Sources(self.sources.base, checkpoints)
            self.weights = weigh(self.sources, self.precision)
        shift = shift_of(self.study, self.storage.record)
        floats = [name for name, spec in self.sources.base.tensors.items() if spec.is_float]
        return Settled(
            self.study,
            Plan(self.study, floats, records, shift),
            replace(objective, shift=shift),
            {d.suite.suite: [e.id for e in d.search] for d in self.documents},
            self.precision.dtype,
            self.sources.fingerprints,
        )

    def settle(self) -> None:
        """Compute what the study needs before its first trial: directions, references, inner products of task vectors.

        Raises:
            UserError: something of it cannot be computed.
        """
        if self._directions is None:
            with self.storage.hold("directions", lambda: self.screen.say(COMPUTED_ELSEWHERE)):
                self._directions = self._workshop.compute()
            self.settled = self._settle(self.settled.objective)
        self._take_references()
        names = self.settled.plan.method.checkpoints
        measure(self.study, names, self.sources, self.storage, self.screen.say)
        self.settled = self._settle(self.settled.objective)

    def history(self) -> History:
        """All trials so far."""
        return self.storage.history(self.settled)

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
        if (
            self.study.device != SPREAD and self.engine.name != "vllm"
        ):  # (these find out for themselves)
            check_memory(self.weights, self.precision, self.study.residence)
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

    def _take_references(self) -> None:
        """Give documents the reference answers that they lack, the same for all workers."""
        if self.study.objective == "target_nll":
            inputs = [c for name, c in self.inputs().items() if name in self.study.checkpoints]
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

    def candidate(self, coefficients: Mapping[str, float]) -> Candidate:
        """The plain sum with these effective coefficients."""
        method = self.settled.plan.method.name
        return Candidate(
            coefficients=coefficients,
            method=method if method in PLAIN else "task_arithmetic",
            dtype=self.precision.dtype,
            sources=self.sources.fingerprints,
        )

    def inputs(self) -> dict[str, Candidate]:
        """The base and every checkpoint, as candidates."""
        names = self.settled.plan.method.checkpoints
        return {
            "base": self.candidate(dict.fromkeys(names, 0.0)),
            **{name: self.candidate(unit(names, name)) for name in self.study.checkpoints},
        }

    def _count(self, split: str) -> int:
        return sum(len(documents.of(split)) for documents in self.documents)
