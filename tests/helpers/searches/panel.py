"""Seven trials, and what a terminal shows of them."""

from __future__ import annotations

import io

from rich.console import Console

from exme.evaluators.scores import DocumentScores
from exme.search.merging.candidate import Candidate
from exme.search.reports.terminal.panel import SearchPanel
from exme.search.running.view import View
from exme.search.study.study_sections import BudgetSection
from exme.search.trials.trial import TrialRecord

INPUTS = ("sums alone", "products alone")


def trial(number: int, origin: str, sums: float, products: float, solved: int) -> TrialRecord:
    ids = tuple(map(str, range(100)))
    values = (1.0,) * solved + (0.0,) * (100 - solved)
    scores = DocumentScores("gsm8k", "search", "exact_match,strict-match", ids, values, 0)
    candidate = Candidate({"sums": sums, "products": products}, "exme", "bfloat16", {})
    return TrialRecord(number, "complete", origin, candidate, scores, seconds=2.0)


TRIALS = (
    trial(0, "sums alone", 1, 0, 40),
    trial(1, "products alone", 0, 1, 44),
    trial(2, "mean", 0.5, 0.5, 46),
    trial(3, "ExPO 0.3 of products", 0, 1.3, 45),
    trial(4, "gp", 1.6, 0.2, 30),
    trial(5, "gp", 1.1, 1.2, 62),
    trial(6, "gp", 1.0, 0.6, 58),
)


def view(trials: tuple[TrialRecord, ...] = TRIALS, **budget: float) -> View:
    limits = BudgetSection.model_validate(budget or {"trials": 20})
    return View("mini-gsm8k", limits, INPUTS, trials, proved=0)


def drawn(shown: View, width: int, *, colours: bool = False, note: str = "") -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, color_system="truecolor" if colours else None,
        force_terminal=colours,
    )  # fmt: skip
    console.print(SearchPanel(shown, note=note))
    return stream.getvalue()
