"""One of each, from outside the package: a merge method, a direction, a suite, a sampler, an engine, a storage, a section.

A goal has no such door: what proves it is part of it (`search/proof/gain.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from exme.evaluators.harness import Chat, Judge
from exme.evaluators.scores import join
from exme.search import directions
from exme.search.directions.direction import Found
from exme.search.merging.candidate import Candidate
from exme.search.merging.methods import METHODS
from exme.search.merging.methods.method import Facts, Merge, Method, Parameter, Term
from exme.search.proposing import sampler
from exme.search.reports.pages.report import write_report
from exme.search.reports.pages.section import Section
from exme.search.running.search import open_search
from exme.search.scoring.worker import Scored
from exme.search.study import study_sections
from exme.tasks.documents import SuiteDocuments
from tests.helpers.models.merges import make
from tests.helpers.places import ROOT
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import Opened, study_file


class Halved(Method):
    """The plain sum, of which `share` is kept."""

    name = "halved"
    title = "Halved"
    paper = "none"
    own = (Parameter("share", 0.0, 1.0, 1.0, "what is kept of the sum"),)

    @classmethod
    def is_plain(cls, coefficients: Mapping[str, float], parameters: Mapping[str, float]) -> bool:
        return parameters["share"] == 1.0

    @classmethod
    def instruct(
        cls, coefficients: Mapping[str, float], parameters: Mapping[str, float], facts: Facts
    ) -> Merge:
        share = parameters["share"]
        return Merge(tuple(Term(name, share * c) for name, c in coefficients.items()))


def test_a_merge_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "halved", Halved)
    base, sums = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    made = make(
        {"w": base}, {"sums": {"w": sums}}, {"sums": 1.0}, "halved", parameters={"share": 0.5}
    )
    assert torch.equal(made["w"], torch.tensor([2.0, 2.0]))
    trials = Opened(tmp_path, method="halved").search.run().trials
    found = [t.candidate for t in trials if t.candidate and t.candidate.method == "halved"]
    assert found and all("share" in candidate.parameters for candidate in found)


class Doubled:
    """Coefficients of two."""

    def check(self, bench: Any) -> None:
        assert bench.sources.checkpoints

    def compute(self, bench: Any, write: Any) -> Found:
        return Found(dict.fromkeys(bench.sources.checkpoints, 2.0))


def test_a_direction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = directions.About(
        "doubled", "Doubled", "", f"{__name__}:Doubled", "coefficients", "nothing", least=1
    )
    monkeypatch.setitem(directions.DIRECTIONS, "doubled", about)
    trials = Opened(tmp_path, directions=["doubled"]).search.run().trials
    (found,) = [t.candidate for t in trials if t.origin == "doubled"]
    assert found is not None and dict(found.coefficients) == {"sums": 2.0, "products": 2.0}


def test_a_suite(tmp_path: Path) -> None:
    own = ROOT / "docs" / "examples" / "own-suite"
    opened = Opened(tmp_path, suites=[str(own / "shop.yaml")], data=str(own / "data"), task="shop",
                    documents={"search": 20, "report": 20})  # fmt: skip
    outcome = opened.search.run()
    assert outcome.merged is not None and outcome.merged.report.suite == "shop"


class Corner(optuna.samplers.BaseSampler):
    """Proposes where all parameters are highest, then by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {name: distribution.high for name, distribution in search_space.items()}

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        return self.chance.sample_independent(study, trial, name, distribution)


def test_a_sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sampler.SAMPLERS, "corner", lambda seed, _: Corner(seed))
    names = (*study_sections.SAMPLER_NAMES, "corner")
    monkeypatch.setattr(study_sections, "SAMPLER_NAMES", names)
    trials = Opened(tmp_path, sampler={"name": "corner"}).search.run().trials
    (first, *_) = [t.candidate for t in trials if t.origin == "corner"]
    assert first is not None and len(set(first.coefficients.values())) == 1
    assert max(first.coefficients.values()) == study_file().space.coefficients[1]


class Knowing:
    """An engine that answers what it was told, to every other prompt."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers, self.asked = answers, 0

    def generate_until(self, requests: list[Any]) -> list[str]:
        self.asked += len(requests)
        known = [self.answers[r.args[0].rpartition("Question: ")[2]] for r in requests]
        return [answer if i % 2 else "no idea" for i, answer in enumerate(known)]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class Judged(Landscape):
    """Scores every candidate by that engine's answers."""

    def __init__(self, documents: Sequence[SuiteDocuments]) -> None:
        super().__init__(documents, PEAK)
        (found,) = documents
        rows = [d.row for split in ("search", "report") for d in found.of(split)]
        self.engine = Knowing({f"{r['question']}\nAnswer:": f" {r['answer']}" for r in rows})
        self.judges = {s: Judge(found, s, Chat()) for s in ("search", "report")}

    def score(self, candidate: Candidate, split: str) -> Scored:
        evaluation = self.judges[split].score(self.engine)
        return Scored(join([evaluation.scores]), {"model": evaluation.engine_seconds})


def test_an_engine(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"documents": {"search": 10, "report": 10}, "budget": {"trials": 2}}
    opened = Opened(tmp_path, scorer=Judged, **settings)
    outcome = opened.search.run()
    assert next(t.scores.mean for t in outcome.trials if t.scores) == 0.5
    assert isinstance(opened.landscape, Judged) and opened.landscape.engine.asked >= 20


def test_a_storage(tmp_path: Path) -> None:
    """Any database that SQLAlchemy opens by its URL, and Optuna can use."""
    study = study_file(storage=f"sqlite:///{tmp_path / 'elsewhere.db'}", budget={"trials": 3})
    with open_search(
        study, "gsm8k", name="test", runs=tmp_path / "runs", worker=lambda d: Landscape(d, PEAK)
    ) as search:
        search.work()
    assert (tmp_path / "elsewhere.db").is_file()
    assert not list((tmp_path / "runs").rglob("study.db"))


def test_a_section_of_the_report(tmp_path: Path) -> None:
    opened = Opened(tmp_path, budget={"trials": 3})
    outcome = opened.search.run()
    report = write_report(
        outcome, opened.search.folder, sections=[Section("Our own", ["What we say."])]
    )
    assert report.read_text().rstrip().endswith("## Our own\n\nWhat we say.")
    assert "<h2>Our own</h2>" in report.with_suffix(".html").read_text()
