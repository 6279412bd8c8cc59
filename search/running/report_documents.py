"""What is scored on report documents when a search is over: the proof, then what else changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from exme.search.opening import give_back_memory
from exme.search.proof import (
    Also,
    Outcome,
    claim,
    claim_also,
    key_of_suite,
    owed_also,
    owed_longer,
    prove,
    prove_longer,
    unproved,
)
from exme.search.scoring import Scorer, Worker
from exme.search.statistics import Interval
from exme.search.trials import Unit, joined
from exme.tasks import SuiteDocuments, UserError

if TYPE_CHECKING:
    from .opened_search import OpenedSearch

PROVED_ELSEWHERE = "Another process is scoring the winner on the report documents; waiting for it."


def score_report_documents(search: OpenedSearch) -> None:
    """Score what is still to be scored; the first of several processes does, and the others wait for it.

    Args:
        search: whose budget is used up.
    """
    storage, say = search.storage, search.screen.say
    claim(storage, search.trials, search.folder.parent, search.inputs(), search.documents)
    if not _is_owed(search):
        return
    with storage.hold("prove", lambda: say(PROVED_ELSEWHERE)):
        missing = unproved(storage, search.trials, search.to_prove()[0])
        if missing:
            give_back_memory()  # (the proof's prompts and answers come on top)
            count = storage.record.count("report")
            say(f"Proving on {count} report documents: {', '.join(missing)} ...")
            prove(missing, search.worker, storage, search.folder, search.screen.note)
        search.screen.note("Answers that were cut, once more with room for longer ones")
        prove_longer(search.outcome(), lambda: search.worker, storage)
        _score_also(search, search.outcome())
        give_back_memory()


def _is_owed(search: OpenedSearch) -> bool:
    """Whether anything is still to be scored on report documents."""
    if unproved(search.storage, search.trials, search.to_prove()[0]):
        return True
    outcome = search.outcome()
    return bool(
        owed_longer(outcome, search.storage) or owed_also(outcome, search.storage, search.also)
    )


def _score_also(search: OpenedSearch, outcome: Outcome) -> None:
    """Score the winner and the best input on the suites of `also`, each once on each.

    Args:
        search: whose study names them.
        outcome: with its proof.
    """
    claim_also(outcome, search.storage, search.also, search.folder.parent)
    for documents, candidates in owed_also(outcome, search.storage, search.also):
        suite, names = documents.suite.suite, joined([name for name, _ in candidates])
        search.screen.say(
            f"What else changed: {names} on {len(documents.report)} report documents of {suite} ..."
        )
        try:
            with _scorer(search, [documents]) as scorer:
                for name, candidate in candidates:
                    search.screen.note(f"Scoring {name} on {suite}")
                    scores = scorer.score(candidate, "report").scores
                    search.storage.record.save_also(key_of_suite(documents), candidate, scores)
        except (UserError, ValueError, FloatingPointError) as error:  # the verdict stands
            search.screen.say(f"What else changed: {suite} cannot be scored ({error}).", "yellow")
    for each in search.outcome().also:
        search.screen.say(_told(each))


def _told(found: Also) -> str:
    """What changed on a suite, in a line."""
    unit, gain = Unit([found.merged, found.other]), found.gain
    ends = gain.approximate or (gain.low, gain.high)
    moved = unit.line(Interval(gain.estimate, *ends), sign=True)
    score = unit.score(found.merged.mean)
    return f"{found.merged.suite}: merged {score}, {moved} against {found.over}; not part of the proof."


@contextmanager
def _scorer(search: OpenedSearch, documents: Sequence[SuiteDocuments]) -> Iterator[Scorer]:
    """The search's worker with other documents than its own for a while."""
    if search.make_worker is not None:
        yield search.make_worker(documents)
        return
    worker = cast("Worker", search.worker)
    worker.take_documents(documents)
    try:
        for line in worker.live.check_room(worker.judges("report")):
            search.screen.say(line)
        yield worker
    finally:
        worker.take_documents(search.documents)
