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
from exme.search.opening.joining import join_study
from exme.search.opening.opening import load_study_documents, open_sources, pinned_facts
from exme.search.opening.references import take_references
from exme.search.opening.settling import settle_objective, shift_of
from exme.search.opening.workshop import Settled, Workshop, agree
from exme.search.proposing.auto import Looks
from exme.search.proposing.plan import Plan
from exme.search.racing.field import Racing
from exme.search.scoring.precision import Precision, choose_engine, settle_precision
from exme.search.scoring.worker import Scorer, Worker
from exme.search.study.space import unit
from exme.search.study.study_file import StudyFile
from exme.search.study.suites import pick_suites
from exme.search.trials.outcome import TrialRecord

from .attempt import Attempts
from .screen import Screen
from .turns import Turns

RUNS = Path("studies/runs")


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
        floats = [name for name, spec in self.sources.base.tensors.items() if spec.is_float]
        self.plan = Plan(study, floats)
        self._worker: Scorer | None = worker
        sizes = {found.suite.suite: len(found.search) for found in self.documents}
        self.objective = settle_objective(study, sizes, self.plan.inputs)
        self._engine_name: str = study.engine
        self.folder, self.storage = join_study(
            runs / f"{name}-{self.task}",
            study.storage,
            pinned_facts(study, self.documents, self.sources, self.precision, self.objective),
            self.documents,
            where=where,
            say=self.screen.say,
            fork=fork,
            objectives=self.objective.values_per_trial,
        )
        self.storage.known.rate = self._rate
        self.storage.record.set_goal(self.objective.goal)
        racing = study.racing
        self.looks = Looks(
            self.plan.proposals,
            self.objective,
            {d.suite.suite: [e.id for e in d.search] for d in self.documents},
            None if racing is None else Racing(racing.error_rate, racing.chunk),
            study.sampler.name,
            study.sampler.seed,
        )
        self.turns = Turns(
            study,
            self.plan,
            self.storage,
            self.screen,
            self.looks,
            dtype=self.precision.dtype,
            sources=self.sources.fingerprints,
            per_trial=self._count("search"),
        )
        self.attempts = Attempts(
            self.turns, self.plan, self.looks, self.storage, self.documents,
            self.folder, self.screen, lambda: self.worker, self.rest,
        )  # fmt: skip
        self._workshop = Workshop(
            study, self.sources, self.documents, self.precision, self.folder, self.screen.say
        )
        self._take_directions(self._workshop.present())

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

    def _take_directions(self, settled: Settled | None) -> None:
        """Search from the study's directions, once they are computed."""
        self.are_directions_settled = settled is not None
        if settled is None or not self.study.directions:
            return
        self.plan.start_from(agree(settled, self.storage, self.folder))
        self.sources = Sources(self.sources.base, {**self.sources.checkpoints, **settled.vectors})
        self.weights = weigh(self.sources, self.precision)
        self.turns.agenda.sources = self.sources.fingerprints

    def _rate(self, trials: list[TrialRecord]) -> list[TrialRecord]:
        """See `KnownTrials.rate`."""
        self._take_shift()
        return self.objective.rate(trials)

    def _take_shift(self) -> None:
        """Have proposals, races and ratings know the shift, once it can be measured."""
        if self.study.shift is None or self.objective.shift is not None:
            return
        shift = shift_of(self.study, self.storage.record)
        if shift is not None:
            self.objective = self.looks.objective = replace(self.objective, shift=shift)
            self.plan.keep_within(shift)

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
            inputs = [c for name, c in self.inputs().items() if name in self.plan.inputs]
            self.documents = take_references(
                self.documents,
                inputs,
                lambda: self.worker,
                self.storage,
                self.screen.say,
                self.screen.note,
            )
            self.attempts.documents = self.documents
            if isinstance(self._worker, Worker):
                self._worker.take_documents(self.documents)

    def candidate(self, coefficients: Mapping[str, float]) -> Candidate:
        """The plain sum with these effective coefficients."""
        method = self.plan.method.name
        return Candidate(
            coefficients=coefficients,
            method=method if method in PLAIN else "task_arithmetic",
            dtype=self.precision.dtype,
            sources=self.sources.fingerprints,
        )

    def inputs(self) -> dict[str, Candidate]:
        """The base and every checkpoint, as candidates."""
        names = self.plan.method.checkpoints
        return {
            "base": self.candidate(dict.fromkeys(names, 0.0)),
            **{name: self.candidate(unit(names, name)) for name in self.plan.inputs},
        }

    def _count(self, split: str) -> int:
        return sum(len(documents.of(split)) for documents in self.documents)
