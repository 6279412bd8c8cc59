"""A whole search: known points, proposals, proof, report; resumable at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite

from .answers import Example, examples
from .attempt import Attempts
from .candidate import Candidate
from .directions.settle import Settled, Workshop, agree
from .estimate import check_memory, give_back_memory, set_aside, weigh
from .facts import facts
from .field import Racing
from .forecast import Forecast
from .gram import measure
from .interrupts import stop_if_asked
from .joining import join_study
from .looks import Looks
from .methods import PLAIN
from .opening import load_study_documents, open_sources, pinned_facts, remarks
from .outcome import Outcome, TrialRecord
from .plan import Plan, is_over, spent
from .proof import claim, owed_longer, prove, prove_longer, proved, unproved
from .references import take_references
from .resident import Sources
from .screen import Screen
from .settling import settle_objective
from .shift import shift_of
from .space import unit
from .spread import SPREAD
from .study_file import StudyFile, load_study_file
from .suites import pick_suites
from .tracking import Tracking
from .turns import Turns
from .uses import new_use
from .view import View, view_of
from .worker import Precision, Scorer, Worker, settle_precision

RUNS = Path("studies/runs")

# So many candidates in a row that could not be scored: it is not the candidates.
MOST_FAILURES = 10

COMPUTED_ELSEWHERE = "Another process is computing the study's directions; waiting for it."
PROVED_ELSEWHERE = "Another process is scoring the winner on the report documents; waiting for it."


class Search:
    """One study on one or several suites; any number of processes may work on it at once.

    Use as a context manager: leaving it stops the heart that tells the other workers of this one.

    Args:
        study: the study.
        name: the study's name; with the suites' it names the run's folder.
        task: the suite to search on; several, parted by commas; or ``all`` of the study's.
        runs: folder of all runs.
        where: what error messages call the study file.
        screen: where lines go.
        worker: scores candidates; by default one that materialises and evaluates them here.
        fork: where the study was begun with something else, begin a new one next to it.

    Raises:
        UserError: anything about the study that cannot be used; nothing has been written then.
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
        self.precision: Precision = settle_precision(study, self.sources.base.dtype)
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
            self.folder, self.screen, lambda: self.worker,
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
        if self.study.device != SPREAD:  # accelerate finds out whether it fits
            check_memory(self.weights, self.precision, self.study.residence)
        drafts = self.folder / "drafts.jsonl"
        worker = Worker(self.study, self.sources, self.documents, self.precision, drafts)
        set_aside()
        return worker

    def rest(self) -> None:
        """Give the worker's memory back; its next use loads the models again."""
        if isinstance(self._worker, Worker):
            self._engine_name = self._worker.engine_name
            self._worker = None
            give_back_memory()

    # The search ----------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Search until the budget is used up, then prove the winner on the report documents."""
        self.work()
        return self.prove()

    def work(self) -> None:
        """Try candidates, beside whoever else does, until the budget is used up."""
        if not self.are_directions_settled:
            with self.storage.hold("directions", lambda: self.screen.say(COMPUTED_ELSEWHERE)):
                self._take_directions(self._workshop.compute())
        tracking = Tracking(
            self.study.track, f"{self.name}-{self.task}", self.folder, self.screen.say
        )
        self._take_references()
        measure(self.study, self.plan, self.sources, self.storage, self.screen.say)
        self.turns.recover()
        trials = self.storage.trials()
        if not is_over(self.study.budget, trials):
            self._announce(trials)
        self.screen.begin(self.view)
        forecast, inputs = self._forecast(), [f"{name} alone" for name in self.plan.inputs]
        failures = 0
        while True:
            stop_if_asked()
            reason = self.turns.why_over(trials)
            if reason:
                break
            number = self.attempts.make()
            trials = self.storage.trials()
            if number is None:
                continue
            trial = trials[number]
            if self.study.track:  # (it is read from the storage once more)
                tracking.tell(self.storage.study, self.storage.frozen(number))
            self.screen.trial(trial, trials, forecast.left(trials), inputs)
            failures = failures + 1 if trial.message else 0
            if failures >= MOST_FAILURES:
                raise UserError(
                    f"the last {failures} candidates could not be scored; the last one: "
                    f"{trial.message}. Put that right; the same command resumes"
                )
        self.screen.say(f"The search is over: {reason}.")

    def _take_references(self) -> None:
        """Give documents the reference answers that they lack, the same for all workers."""
        if self.study.objective == "target_nll":
            inputs = [c for name, c in self.inputs().items() if name in self.plan.inputs]
            self.documents = take_references(
                self.documents, inputs, lambda: self.worker, self.storage, self.screen
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

    # The proof -----------------------------------------------------------------------------------

    def prove(self) -> Outcome:
        """Score the winner and every input on the report documents, each once in a study's life."""
        left = unproved(self.storage, self.inputs())
        if left or owed_longer(self.outcome(), self.storage):
            with self.storage.hold("prove", lambda: self.screen.say(PROVED_ELSEWHERE)):
                missing = unproved(self.storage, self.inputs())
                if missing:
                    give_back_memory()  # (the proof's prompts and answers come on top)
                    count = self._count("report")
                    self.screen.say(
                        f"Proving on {count} report documents: {', '.join(missing)} ..."
                    )
                    if "merged" in missing:
                        found = new_use(missing["merged"].digest, self.documents, self.folder.name)
                        claim(self.storage, self.folder.parent, found)
                    prove(missing, self.worker, self.storage, self.folder, self.screen)
                prove_longer(self.outcome(), lambda: self.worker, self.storage)
                give_back_memory()
        return self.outcome()

    def view(self) -> View:
        """The search as it is now; safe to call from any thread."""
        proved = len(self.storage.record.proofs())
        return view_of(self.study, self.folder.name, self.storage.trials(), proved)

    def inputs(self) -> dict[str, Candidate]:
        """The base and every checkpoint, as candidates."""
        names = self.plan.method.checkpoints
        return {
            "base": self.candidate(dict.fromkeys(names, 0.0)),
            **{name: self.candidate(unit(names, name)) for name in self.plan.inputs},
        }

    def outcome(self) -> Outcome:
        """All that is in the storage."""
        trials, inputs = self.storage.trials(), self.inputs()
        found = proved(self.storage, trials, inputs, self.folder.parent)
        bounds, widened = self.plan.bounds(trials)
        return Outcome(
            study=self.name,
            task=self.task,
            bounds=bounds,
            trials=tuple(trials),
            winner=found.winner,
            inputs=found.inputs,
            merged=found.merged,
            use=found.use,
            names=tuple(inputs),
            aim=self.objective.goal,
            widened=tuple(widened),
            importance=self.storage.importance(),
            work=self.storage.work(),
            facts=facts(
                self.study,
                self.where,
                self.sources,
                self.documents,
                self.precision,
                getattr(self._worker, "engine_name", self._engine_name),
            ),
        )

    def examples(self, outcome: Outcome) -> list[Example]:
        """Report documents won and lost against the best input, with both answers."""
        return examples(outcome, self.documents, self.folder)

    # What is said --------------------------------------------------------------------------------

    def _announce(self, trials: list[TrialRecord]) -> None:
        used, _, _ = spent(trials)
        line = self._forecast().cost(trials, self.worker.seconds_per_document())
        if used:
            self.screen.say(f"Resuming study {self.name}-{self.task} after {used} trials.")
        self.screen.say(line)
        for said, style in remarks(self.plan, self.sources, self.documents):
            self.screen.say(said, style)

    def _forecast(self) -> Forecast:
        per_trial, per_proof = self._count("search"), self._count("report")
        return Forecast(self.study, self.weights, self.folder, per_trial, per_proof)

    def _count(self, split: str) -> int:
        return sum(len(documents.of(split)) for documents in self.documents)


def open_search(
    study: str | Path | StudyFile,
    task: str | None = None,
    *,
    name: str | None = None,
    runs: str | Path = RUNS,
    trials: int | None = None,
    screen: Screen | None = None,
    worker: Scorer | None = None,
    fork: bool = False,
) -> Search:
    """Open a study for searching, or take it up again.

    Args:
        study: a study file, or its content.
        task: the suite to search on; several, parted by commas; or ``all`` of the study's. The
            study's first by default.
        name: name of the study; the file's by default.
        runs: folder of all runs.
        trials: replaces the study's budget of trials.
        screen: where lines go.
        worker: see `Search`.
        fork: see `Search`.

    Raises:
        UserError: the study cannot be used.
    """
    where = "study" if isinstance(study, StudyFile) else str(study)
    content = study if isinstance(study, StudyFile) else load_study_file(Path(study))
    if trials is not None:
        content = content.model_copy(
            update={"budget": content.budget.model_copy(update={"trials": trials})}
        )
    stem = "study" if isinstance(study, StudyFile) else Path(study).stem
    return Search(
        content,
        name or stem,
        task or load_suite(content.suites[0]).suite,
        runs=Path(runs),
        where=where,
        screen=screen,
        worker=worker,
        fork=fork,
    )
