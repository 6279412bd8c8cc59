"""The proof: the winner and every input on the report documents, each scored once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exme.search.merging import Candidate
from exme.search.scoring import save_answers
from exme.search.storage import Storage, StoredStudy
from exme.search.trials import (
    Clock,
    TrialRecord,
    best_trial,
    complete,
    duration,
    this_moment,
)
from exme.tasks import SuiteDocuments, UserError, one_line

from .audit import any_cut
from .finals import best_input
from .outcome import Entry, Outcome
from .uses import Use, key_of, new_use, number_of, read_ledger, write_ledger

if TYPE_CHECKING:  # a verdict is also read where no model is loaded, and no torch
    from exme.search.scoring import Scorer

# Says in a study that answers of twice the length do not fit into the model's context.
NO_ROOM = "no room for longer answers"


@dataclass(frozen=True)
class Proved:
    """What was scored on the report documents so far.

    Attributes:
        winner: the best trial.
        inputs: the base and the checkpoints.
        merged: the winner; None where it is an input itself, or not yet proved.
        use: which use of these documents that is; 0 while the winner is not proved.
    """

    winner: TrialRecord | None
    inputs: tuple[Entry, ...]
    merged: Entry | None
    use: int


def unproved(
    storage: Storage, trials: Sequence[TrialRecord], inputs: Mapping[str, Candidate]
) -> dict[str, Candidate]:
    """The winner (``merged``) and the inputs, as far as they are still to be scored."""
    best = best_trial(trials)
    if best is None or best.candidate is None:
        return {}
    proofs = storage.record.proofs()
    wanted = {**inputs, "merged": best.candidate}
    return {name: found for name, found in wanted.items() if found.digest not in proofs}


def claim(
    storage: Storage,
    trials: Sequence[TrialRecord],
    runs: Path,
    inputs: Mapping[str, Candidate],
    documents: Sequence[SuiteDocuments],
) -> None:
    """Write down the winner's use of the report documents before it is made, in the study and in its folder of runs.

    Args:
        storage: of the study.
        trials: all of it.
        runs: the folder of runs.
        inputs: the base and the checkpoints; a winner that is one of them is not tested.
        documents: of each suite.
    """
    best = best_trial(trials)
    candidate = None if best is None else best.candidate
    if candidate is None or candidate.digest in {c.digest for c in inputs.values()}:
        return
    test = key_of(candidate.digest, storage.record.evaluation(), storage.record.goal())
    with storage.hold_all("uses", runs):  # two studies that prove at once have a number each
        mine = next((u for u in _uses(storage.record.uses()) if u.test == test), None)
        known = [*_uses(storage.uses()), *read_ledger(runs)]
        use = mine or new_use(test, documents, storage.name, known)
        storage.record.claim_use(test, use.to_json())
        write_ledger(runs, use)


def prove(
    missing: Mapping[str, Candidate],
    worker: Scorer,
    storage: Storage,
    folder: Path,
    note: Callable[[str], None],
) -> None:
    """Score candidates on the report documents; the same one under two names once.

    Args:
        missing: by name; see `unproved`.
        worker: scores them.
        storage: where scores go.
        folder: the run's, where answers go.
        note: says what goes on now.

    Raises:
        UserError: one cannot be scored.
    """
    for number, (name, candidate) in enumerate(missing.items(), 1):
        if candidate.digest not in storage.record.proofs():
            took = [proof.clock.seconds for proof in storage.record.timed()]
            about = f", about {duration(sum(took) / len(took))}" if took else ""
            note(f"Proof: {name}, {number} of {len(missing)}{about}")
            begin = this_moment()
            try:
                scored = worker.score(candidate, "report")
            except (FloatingPointError, ValueError) as error:
                raise UserError(
                    f"the proof breaks off: {name} cannot be scored on the report documents ({one_line(str(error))}). The "
                    f"search is kept; once what raises there is mended, the same command goes on with the proof"
                ) from None
            save_answers(folder, candidate.digest, scored.answers)
            clock = Clock(storage.sitting or begin, begin, this_moment())
            storage.record.save_proof(candidate, scored.scores, scored.proxy, clock)


def owed_longer(outcome: Outcome, storage: Storage) -> list[Entry]:
    """The winner and the best input, as far as they are still to be scored with room for longer answers.

    Only where an answer of one of them was cut, and the model's context has the room.
    """
    if outcome.merged is None or not outcome.inputs or storage.record.agreed(NO_ROOM):
        return []
    pair = [outcome.merged, best_input(outcome)]
    if not any(any_cut(entry.report) for entry in pair):
        return []
    return [entry for entry in pair if entry.longer is None]


def prove_longer(outcome: Outcome, worker: Callable[[], Scorer], storage: Storage) -> None:
    """Score the winner and the best input once more with room for longer answers, where some were cut."""
    for entry in owed_longer(outcome, storage):
        scored = worker().score_longer(entry.candidate)
        if scored is None:
            storage.record.agree_on(NO_ROOM, True)
            return
        storage.record.save_longer(entry.candidate, scored.scores)


def proved(
    storage: StoredStudy,
    trials: Sequence[TrialRecord],
    inputs: Mapping[str, Candidate],
    runs: Path,
) -> Proved:
    """What the storage holds of the proof.

    Args:
        storage: of the study.
        trials: all of it.
        inputs: base and checkpoints, by name.
        runs: the folder of runs, where uses of report documents are counted.
    """
    proofs, proxies = storage.record.proofs(), storage.record.proofs("proxy")
    longer = storage.record.proofs("longer")
    by_digest = {t.candidate.digest: t for t in complete(trials) if t.candidate is not None}
    digests = {candidate.digest for candidate in inputs.values()}

    def entry(name: str, candidate: Candidate) -> Entry | None:
        digest = candidate.digest
        if digest not in proofs:
            return None
        trial = by_digest.get(digest)
        searched = trial.scores if trial else None
        return Entry(
            name, candidate, proofs[digest], searched, proxies.get(digest), longer.get(digest)
        )

    winner = best_trial(trials)
    best = winner.candidate if winner is not None else None
    found = [entry(name, candidate) for name, candidate in inputs.items()]
    merged = None if best is None or best.digest in digests else entry("merged", best)
    return Proved(
        winner=winner,
        inputs=tuple(e for e in found if e is not None),
        merged=merged,
        use=0 if merged is None else _use(storage, runs, merged.candidate.digest, digests),
    )


def use_of(
    storage: StoredStudy,
    trials: Sequence[TrialRecord],
    inputs: Mapping[str, Candidate],
    runs: Path,
) -> int:
    """Which use of the report documents the winner's proof is; 0 where it is an input and nothing is tested.

    Args: see `proved`; the use has been written down (`claim`).
    """
    best = best_trial(trials)
    digests = {candidate.digest for candidate in inputs.values()}
    if best is None or best.candidate is None or best.candidate.digest in digests:
        return 0
    return _use(storage, runs, best.candidate.digest, digests)


def _use(storage: StoredStudy, runs: Path, digest: str, inputs: Collection[str]) -> int:
    """Which use of the report documents the proof of a candidate is."""
    test = key_of(digest, storage.record.evaluation(), storage.record.goal())
    own = _uses(storage.record.uses())
    mine = next((u for u in own if u.test == test), None)
    if mine is None and not own:  # proved before uses were counted: after all others of this study
        return len(set(storage.record.proofs()) - set(inputs))
    known = [*_uses(storage.uses()), *read_ledger(runs)]
    if (
        mine is None
    ):  # tested by another goal than it was proved by: as if that were a use that begins now
        mine = replace(own[0], test=test, order=1 + max(u.order for u in known))
    return number_of(mine, known)


def _uses(written: Iterable[Mapping[str, Any]]) -> list[Use]:
    return [Use.from_json(use) for use in written]
