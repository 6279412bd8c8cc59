"""A whole search: known points, proposals, proof, report; resumable at any moment."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from exme.search.opening import check_memory
from exme.search.proof import Outcome
from exme.search.proposing import kept_of, why_over, why_used_up
from exme.search.scoring import Scorer, resident_model
from exme.search.study import StudyFile, alone, load_study_file, named_point, with_limits
from exme.search.trials import TrialRecord, joined
from exme.tasks import SuiteDocuments, UserError, load_suite

from .announcing import announce
from .blind import BlindSuites
from .interrupts import stop_if_asked, was_asked
from .loop import Loop
from .opened_search import OpenedSearch
from .report_documents import score_report_documents
from .screen import Screen, named_text, so_far
from .stored_search import RUNS
from .tracking import Tracking
from .view import View, view_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# So many candidates in a row that could not be scored: it is not the candidates.
MOST_FAILURES = 10


class Search(OpenedSearch):
    """One study on one or several suites; any number of processes may work on it at once.

    Use as a context manager: leaving it stops the heart that tells the other workers of this one.

    Args:
        study: the study.
        name: the study's name; with the suites' it names the run's folder.
        task: the suite to search on; several, parted by commas; or ``all`` of the study's.
        runs: folder of all runs.
        where: what error messages call the study file.
        screen: where lines go.
        worker: of the documents of each suite, makes what scores candidates on them; by default a worker that
            materialises and evaluates them here.
        fork: where the study was begun with something else, begin a new one next to it.

    Raises:
        UserError: anything about the study that cannot be used; nothing has been written then.
    """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.screen.close()
        if kind is not None and (issubclass(kind, KeyboardInterrupt) or was_asked()):
            self.screen.say(self._so_far())
        super().__exit__(kind, value, trace)

    def _so_far(self) -> str:
        """What stands, by what this process knows where the database does not answer."""
        last = self.storage.known.last
        if self.workers > 1:  # (the trials are theirs)
            with contextlib.suppress(Exception):
                last = self.history()
        return so_far(() if last is None else last.trials)

    # The search ----------------------------------------------------------------------------------

    @cached_property
    def loop(self) -> Loop:
        """Trials of this process."""
        return Loop(self)

    def run(self) -> Outcome:
        """Search until the budget is used up, then prove the winner on the report documents."""
        self.work()
        return self.prove()

    def score(self, given: Mapping[str, float | str]) -> TrialRecord:
        """Score a merge of one's own on all search documents, as the search scores: ``search.score({"sums": 0.7, "products": 2})``.

        It is kept in the study as a trial ``by hand``: its documents count, samplers and the report know of it, and it
        may be the winner. What was scored before is given back, not scored again.

        Args:
            given: see `named_point`.

        Returns:
            Its trial; where it could not be scored `message` says why.

        Raises:
            UserError: a name that the study does not have, or what its method cannot make.
        """
        point = named_point(self.study, given)
        self._refuse_first_stage()
        self.settle()
        number = self.loop.by_hand(point)
        return self.trials[number]

    def build(self, given: Mapping[str, float | str]) -> tuple[PreTrainedModel, Any]:
        """A merge of one's own as a model in memory, and its tokenizer: ``model, tokenizer = search.build({"sums": 0.7})``.

        Its weights are rounded as an export's are, then cast to the dtype that the study computes in. It is a model of its
        own, beside the search's, which `rest` lets go of.

        Args:
            given: see `named_point`.

        Raises:
            UserError: a name that the study does not have, or too little memory.
        """
        point = named_point(self.study, given)
        self._refuse_first_stage()
        if self.study.directions:
            self.settle()
        check_memory(self.weights, self.precision, "mapped")
        resident = resident_model(self.study, self.sources, self.precision, "mapped")
        resident.materialise(self.settled.candidate(self.settled.plan.of_point(point)))
        return resident.model, resident.tokenizer

    def _refuse_first_stage(self) -> None:
        if self.settled.halving is not None:
            raise UserError(
                f"study {self.name}-{self.task}: which checkpoints of its training run are kept is not known yet; "
                f"`exme search` ranks them first"
            )

    def announce(self) -> None:
        """Say what is ahead: memory, documents, time and engine, and what is special about the study."""
        announce(self)

    def work(self, *, tells_end: bool = True) -> None:
        """Try candidates, beside whoever else does, until the budget is used up.

        Args:
            tells_end: say what was found and why it is over; a worker leaves that to the command that started it.
        """
        self.settle()
        self.loop.recover()
        ranks = self.settled.halving is not None
        if ranks or not why_used_up(self.history()):
            self.announce()
        self.screen.begin(self.view)
        if ranks:
            self._rank()
            self.settle()
        reason = self._until_over()
        if not tells_end:
            return
        if told := named_text(self.view()):
            self.screen.say(told)
        self.screen.say(f"The search is over: {reason}.")

    def _rank(self) -> None:
        """The first stage of a study of a training run: find the checkpoints that are worth searching with."""
        self._until_over()
        kept = kept_of(self.history())
        assert kept is not None
        if not kept:
            raise UserError(
                f"training run {self.study.training_run}: none of its checkpoints could be scored; the last one: "
                f"{next((t.message for t in reversed(self.trials) if t.message), '')}"
            )
        self.keep(kept)
        dropped = self.study.training_run.dropped if self.study.training_run else {}
        self.screen.say(
            f"Kept {joined(list(self.study.checkpoints))}, the best of the training run by the documents so far; "
            f"dropped {joined(list(dropped))}."
        )

    def _until_over(self) -> str:
        """Trials until there is an end, and why that is."""
        tracking = Tracking(
            self.study.track, f"{self.name}-{self.task}", self.folder, self.screen.say
        )
        inputs = [alone(name) for name in self.study.checkpoints]
        blind = BlindSuites(self.documents, inputs, self.storage.record, self.screen)
        failures, history = 0, self.history()
        while not (reason := why_over(history)):
            stop_if_asked()
            number = self.loop.trial()
            history = self.history()
            if number is None:
                continue
            trials = history.trials
            trial = trials[number]
            if self.study.track:  # (it is read from the storage once more)
                tracking.tell(self.storage.study, self.storage.frozen(number))
            self.screen.trial(trial, trials, self.view().left, inputs)
            blind.tell(trials)
            failures = failures + 1 if trial.message else 0
            if failures >= MOST_FAILURES:
                raise UserError(
                    f"the last {failures} candidates could not be scored; the last one: "
                    f"{trial.message}. Put that right; the same command resumes"
                )
        return reason

    # The proof -----------------------------------------------------------------------------------

    def prove(self) -> Outcome:
        """Score the winner and every input on the report documents, each once."""
        score_report_documents(self)
        self.describe()  # (now it is known which engine answered)
        return self.outcome()

    def view(self) -> View:
        """The search as it is now, without a verdict; safe to call from any thread."""
        return view_of(self.study, self.folder.name, self.trials, self.storage)


def open_search(
    study: str | Path | StudyFile,
    task: str | None = None,
    *,
    name: str | None = None,
    runs: str | Path = RUNS,
    trials: int | None = None,
    budget: Mapping[str, float | None] | None = None,
    screen: Screen | None = None,
    worker: Callable[[Sequence[SuiteDocuments]], Scorer] | None = None,
    fork: bool = False,
) -> Search:
    """Open a study for searching, or take it up again.

    Args:
        study: a study file, or its content.
        task: the suite to search on; several, parted by commas; or ``all`` of the study's. The
            study's first by default.
        name: name of the study; the file's by default, of a `StudyFile` one made of what it says, so that two of them
            in one folder of runs do not meet and the same one is taken up again.
        runs: folder of all runs.
        trials: replaces the study's budget of trials.
        budget: replaces limits of the study's budget, by their names: ``{"hours": 1.5}``.
        screen: where lines go.
        worker: see `Search`.
        fork: see `Search`.

    Raises:
        UserError: the study cannot be used.
    """
    where = "study" if isinstance(study, StudyFile) else str(study)
    content = study if isinstance(study, StudyFile) else load_study_file(Path(study))
    content = with_limits(content, {"trials": trials, **(budget or {})})
    stem = _name_of(study) if isinstance(study, StudyFile) else Path(study).stem
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


# What a study may say otherwise when it is taken up again.
_FREE = {
    "also",
    "budget",
    "storage",
    "track",
    "device",
    "residence",
    "batch_size",
    "engine",
    "vllm",
}


def _name_of(study: StudyFile) -> str:
    """``study-`` and eight digits of what a study says that decides its results."""
    text = json.dumps(study.model_dump(mode="json", exclude=_FREE), sort_keys=True)
    return f"study-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
