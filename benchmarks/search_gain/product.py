"""The product's own search on a landscape: its policy, rounds and naming, with a scorer that reads the table."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.landscape import Floats
from exme.evaluators.scores import DocumentScores, join
from exme.search.merging.candidate import Candidate
from exme.search.proposing.history import History
from exme.search.proposing.policy import next_proposal, why_over
from exme.search.proposing.proposal import Proposal
from exme.search.proposing.settled import Settled
from exme.search.running.round import run_round
from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.scoring.probing import DocumentTime
from exme.search.scoring.worker import Scored
from exme.search.study.study_file import StudyFile
from exme.search.trials.ranking import best_trial
from exme.search.trials.shift import Gram
from exme.search.trials.trial import Claim, TrialRecord
from exme.tasks.documents import SuiteDocuments
from exme.tasks.mini import MODELS

from .half import Half

# Any suite with as many documents does, and any models with as many tensors: none is read.
_SUITE, _MODELS = "gsm8k", ("mini/sums", "mini/products")
_TENSORS = [f"*layers.{i}.{part}*" for part in ("self_attn", "mlp") for i in range(4)]
_SECONDS = {"materialise": 0.0, "model": 1.0, "judge": 0.0}


class Table:
    """A scorer that looks outcomes up; see `exme.search.scoring.worker.Scorer`."""

    def __init__(self, half: Half, documents: Sequence[SuiteDocuments]) -> None:
        (found,) = documents
        self.half, self.suite = half, found.suite
        self.documents = tuple(d.id for d in found.search)

    def score(self, candidate: Candidate, split: str) -> Scored:
        """On all search documents; nothing is proved here."""
        return self.score_part(candidate, range(len(self.documents)))

    def score_part(self, candidate: Candidate, documents: Sequence[int]) -> Scored:
        """On some of them."""
        values = self.half.seen(point_of(candidate, self.half))
        chosen = DocumentScores(
            self.suite.suite,
            "search",
            self.suite.metric_name,
            tuple(self.documents[i] for i in documents),
            tuple(float(values[i]) for i in documents),
            0,
        )
        return Scored(join([chosen]), _SECONDS)

    def score_longer(self, candidate: Candidate) -> Scored | None:
        """No answers were cut."""
        return None

    def document_time(self) -> DocumentTime:
        """Any."""
        return DocumentTime(1.0)


def point_of(candidate: Candidate, half: Half) -> Floats:
    """A candidate's place in the landscape, group by group, shape (d,)."""
    if not candidate.grouped:  # the same in every group
        return half.spread(list(candidate.coefficients.values()))
    return np.array([v for group in candidate.grouped.values() for v in group.values()])


def study_of(half: Half, budget: float, **more: Any) -> StudyFile:
    """The study file of a search on a landscape."""
    few = half.landscape.checkpoints
    groups = half.size // few
    patterns = {f"group {i}": [_TENSORS[i]] for i in range(groups - 1)}
    content: dict[str, Any] = {
        "base": "mini/base",
        "checkpoints": {f"c{i + 1}": _MODELS[i % 2] for i in range(few)},
        "data": "mini",
        "documents": {"search": half.count, "report": 1, "seed": half.seed},
        "groups": {"patterns": patterns} if groups > 1 else None,
        "sampler": {"name": "auto", "seed": half.seed},
        "budget": {"documents": round(budget * half.count)},
    }
    return StudyFile.model_validate(content | more)


@contextmanager
def opened(half: Half, study: StudyFile, runs: Path) -> Iterator[Search]:
    """A search that reads the table and says nothing."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        screen = Screen(Console(file=nowhere, width=200))
        with open_search(
            study,
            _SUITE,
            name="gain",
            runs=runs,
            screen=screen,
            worker=lambda documents: Table(half, documents),
        ) as search:
            yield search


def product(half: Half, budgets: Sequence[float], workers: int = 1) -> Mapping[float, Floats]:
    """The point named at each budget: one search, that is taken up again with the next budget.

    The trials are those of `open_search` (tests/test_search_gain.py), without a database in between.

    Args:
        half: to search.
        budgets: in times all search documents.
        workers: that have a trial in hand at any time.
    """
    replay = Replay(half)
    found = {}
    for budget in sorted(budgets):
        replay.run(budget, workers)
        best = best_trial(replay.history().trials)
        assert best is not None and best.candidate is not None
        found[budget] = point_of(best.candidate, half)
    return found


class Replay:
    """A search whose trials are kept in memory."""

    def __init__(self, half: Half) -> None:
        self.half = half
        self.settled, documents = settled_for(half)
        self.worker = Table(half, documents)
        self.trials: list[TrialRecord] = []

    def history(self) -> History:
        """All trials so far."""
        return History(self.settled.objective.rate(self.trials), self.settled)

    def run(self, budget: float, workers: int = 1) -> None:
        """Search until the budget is used up; the worker who took a trial first ends it first."""
        self.settled = replace(self.settled, study=study_of(self.half, budget))
        in_hand: list[tuple[Claim, History]] = []
        while True:
            history = self.history()
            proposal = None
            if len(in_hand) < workers and not why_over(history):
                proposal = next_proposal(history)
            if isinstance(proposal, Proposal):
                number = len(self.trials)
                claim = Claim(
                    number, number, proposal.origin, proposal.candidate, proposal.documents,
                    proposal.start,
                )  # fmt: skip
                worth = proposal.documents or 0
                self.trials.append(
                    TrialRecord(number, "running", claim.origin, claim.candidate, documents=worth)
                )
                in_hand.append((claim, history))
            elif in_hand:
                self._end(*in_hand.pop(0))
            else:
                return

    def _end(self, claim: Claim, history: History) -> None:
        made = run_round(claim, history, self.worker)
        assert made.round is not None
        log = made.round.race_log
        state = "complete" if made.scores else "rejected" if log.lost_to is not None else "paused"
        self.trials[claim.number] = TrialRecord(
            claim.number,
            state,
            claim.origin,
            claim.candidate,
            made.scores,
            1.0,
            documents=made.round.documents,
            race_log=log,
            continues=made.round.continues,
        )


# What was settled for the landscape that was asked for last, by its shape and number of documents.
_SETTLED: dict[tuple[int, int, int], tuple[Settled, Sequence[SuiteDocuments]]] = {}


def settled_for(half: Half) -> tuple[Settled, Sequence[SuiteDocuments]]:
    """What a search on a landscape has settled before its first trial."""
    shape = half.size, half.landscape.checkpoints, half.count
    if shape not in _SETTLED:
        with (
            tempfile.TemporaryDirectory() as folder,
            opened(half, study_of(half, 1, **_checkpoints(half, folder)), Path(folder)) as search,
        ):
            _SETTLED[shape] = search.settled, search.documents
    settled, documents = _SETTLED[shape]
    objective = replace(settled.objective, gram=_gram(half))
    return replace(settled, study=study_of(half, 1), objective=objective), documents


def _gram(half: Half) -> Gram | None:
    """How the landscape's task vectors lie, where it says so; the mini models in their place are others."""
    found = half.landscape.gram
    if found is None:
        return None
    few = half.landscape.checkpoints
    total = np.asarray(found).reshape(-1, few, few).sum(0)
    return Gram(tuple(f"c{i + 1}" for i in range(few)), {"": total})


def _checkpoints(half: Half, folder: str) -> dict[str, Any]:
    """Checkpoints of a study: a folder each, for the same one twice would be refused."""
    names = [f"c{i + 1}" for i in range(half.landscape.checkpoints)]
    found = dict(zip(names, _MODELS, strict=False))
    for name in names[len(_MODELS) :]:
        copy = Path(folder) / name
        shutil.copytree(MODELS / "products", copy)
        found[name] = str(copy)
    return {"checkpoints": found}
