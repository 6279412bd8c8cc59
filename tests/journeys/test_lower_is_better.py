"""A metric that is better when lower: every surface goes the right way and shows what lm-eval would print."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.scale import HIGHER, Scale
from exme.evaluators.scores import DocumentScores, Scorecard, metric_text, scale_of
from exme.search.cli.verify import verify_study
from exme.search.proof.verdict import verdict
from exme.search.reports.dashboard.notes import documents_csv, trial_note
from exme.search.reports.exports.export import export_best
from exme.search.reports.pages.data_frame import documents_table, trials_table
from exme.search.reports.pages.report import write_report
from exme.search.reports.terminal.events import trial_facts
from exme.search.running.search import Search, open_search
from exme.search.statistics.intervals import Interval, is_bounded
from exme.search.trials.ranking import best_trial
from exme.search.trials.standing import standing_by_trial, standings
from exme.search.trials.unit import Unit
from tests.helpers.models.own_tasks import OwnSuite, lossy, write_suite
from tests.helpers.models.small_models import make_family
from tests.helpers.searches.hearing import Hearing


@pytest.fixture(scope="module", params=["err", "nll"])
def searched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, OwnSuite, Search]]:
    """A finished search by an error rate, or by a loss."""
    folder = tmp_path_factory.mktemp(request.param)
    family = make_family(folder / "models", dtypes=(torch.float32,) * 3)
    suite = write_suite(folder, lossy(request.param))
    study = {
        "base": str(family.pop("base")),
        "checkpoints": {name: str(path) for name, path in family.items()},
        "suites": [str(suite.path)],
        "data": str(folder / "data"),
        "documents": {"search": 24, "report": 24},
        "sampler": {"name": "random"},
        "budget": {"trials": 6},
        "racing": None,
        "device": "cpu",
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    with open_search(folder / "study.yaml", runs=folder / "runs") as search:
        search.run()
        yield request.param, suite, search


def by_lm_eval(suite: OwnSuite, folder: Path, metric: str, split: str) -> float:
    """lm-eval's own mean of a model in a folder, over a whole split."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = suite.lm_eval(model, AutoTokenizer.from_pretrained(folder), split)
    return float(found["results"]["own_alone"][f"{metric},none"])


def test_the_model_with_the_lowest_value_wins(searched: tuple[str, OwnSuite, Search]) -> None:
    metric, suite, search = searched
    trials = search.storage.trials()
    best = best_trial(trials)
    assert best is not None
    scored = {t.origin: t.scores for t in trials if t.scores}
    values = {name: s.scale.turn(s.mean) for name, s in scored.items()}
    assert best.scores is not None
    assert best.scores.scale.turn(best.scores.mean) == pytest.approx(min(values.values()))
    models = suite.folder / "models"
    for name in ("math", "code"):
        alone = by_lm_eval(suite, models / name, metric, "train")
        assert values[f"{name} alone"] == pytest.approx(alone, abs=1e-5)
    assert max(values.values()) > min(values.values())


def test_optuna_minimises_lm_evals_own_number(searched: tuple[str, OwnSuite, Search]) -> None:
    _, _, search = searched
    study = search.storage.study
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    by_number = {t.number: t for t in search.storage.trials()}
    for trial in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        scores = by_number[trial.number].scores
        assert scores is not None
        assert trial.value == pytest.approx(scores.scale.turn(scores.mean))
    best = best_trial(search.storage.trials())
    assert best is not None
    assert study.best_value == study.trials[best.number].value


def test_pages_tables_and_notes_show_the_metrics_own_values(
    searched: tuple[str, OwnSuite, Search],
) -> None:
    metric, suite, search = searched
    outcome = search.outcome()
    base = by_lm_eval(suite, suite.folder / "models" / "base", metric, "test")
    shown = f"{100 * base:.1f}%" if metric == "err" else f"{base:.4g}"
    report = write_report(outcome, suite.folder / "report")
    text = report.read_text()
    assert f"{metric},none (lower is better)" in text
    assert f"| base | {shown} (" in text
    decision = verdict(outcome)
    if outcome.merged is not None:
        assert "gain over this" in text
        assert decision.gain is not None
        assert ("better than" in decision.sentence) == (decision.gain.estimate > 0)
    else:
        assert "no merge scored lower than every input" in decision.sentence
    if metric == "nll":  # without bounds: approximate, and never proved
        assert not decision.proved
    table = trials_table(outcome.trials)
    documents = documents_table(outcome)
    on_base = documents[(documents.model == "base") & (documents.split == "report")].score
    assert on_base.mean() == pytest.approx(base, abs=1e-5)
    assert (table.low <= table.score).all()
    assert (table.score <= table.high).all()
    known = standing_by_trial(standings(outcome.trials), outcome.trials)
    trial = next(t for t in outcome.trials if t.scores is not None)
    assert trial.scores is not None
    facts = trial_facts(trial, known[trial.number])
    assert facts["score"] == pytest.approx(table.score[trial.number])
    assert facts["higher_is_better"] is False
    assert facts["low"] <= facts["score"] <= facts["high"]
    note = trial_note(trial, known[trial.number], None, {}, ())
    assert f"{metric},none (lower is better)" in note
    assert known[trial.number].unit.score(known[trial.number].mean) in note
    line = documents_csv(trial, None).splitlines()[1].split(",")
    assert float(line[2]) == pytest.approx(
        trial.scores.scale.turn(trial.scores.values[0]), rel=1e-4
    )


def test_an_export_says_what_lm_eval_says_of_it(searched: tuple[str, OwnSuite, Search]) -> None:
    metric, suite, search = searched
    found = export_best(search, suite.folder / "best")
    folder = getattr(found, "folder", suite.folder / "best")
    alone = by_lm_eval(suite, folder, metric, "test")
    results = json.loads((folder / "lm_eval_results.json").read_text())
    assert results["higher_is_better"] == {"own": {metric: False}}
    scored = results["results"]["own"][f"{metric},none"]
    split = "test" if "report documents" in results["config"]["exme"] else "train"
    assert scored == pytest.approx(
        alone if split == "test" else by_lm_eval(suite, folder, metric, split), abs=1e-5
    )
    card = (folder / "README.md").read_text()
    assert f"own {metric},none (lower is better)" in card
    front = yaml.safe_load(card.split("---")[1])
    told = front["model-index"][0]["results"][0]["metrics"][0]
    assert told["type"] == metric
    assert told["value"] == pytest.approx(scored, abs=1e-5)
    written = json.loads((folder / "exme_scores.json").read_text())
    values = written["base"]["report"]["values"]
    base = by_lm_eval(suite, suite.folder / "models" / "base", metric, "test")
    assert sum(values) / len(values) == pytest.approx(base, abs=1e-5)


def test_verify_compares_the_metrics_own_values_within_the_promise(
    searched: tuple[str, OwnSuite, Search], tmp_path: Path
) -> None:
    metric, suite, _ = searched
    screen = Hearing()
    study = suite.folder / "study.yaml"
    [parity] = verify_study(study, None, "math", None, tmp_path / "runs", screen)
    assert parity.equal
    alone = by_lm_eval(suite, suite.folder / "models" / "math", metric, "train")
    assert parity.ours == pytest.approx(alone, abs=1e-5)
    assert parity.model.startswith("checkpoint math (")
    assert any("checkpoint math" in line for line in screen.lines)


# Scales ------------------------------------------------------------------------------------------


def scores(metric: str, values: tuple[float, ...], *, higher: bool, suite: str = "a") -> Any:
    ids = tuple(map(str, range(len(values))))
    return DocumentScores(suite, "search", metric, ids, values, 0, {}, higher)


def test_a_turn_is_its_own_inverse_and_turns_the_order() -> None:
    for scale in (HIGHER, Scale.of("err,none", False), Scale.of("nll,none", False)):
        values = [0.0, 0.25, 1.0, 3.5]
        turned = [scale.turn(v) for v in values]
        assert [scale.turn(v) for v in turned] == values
        assert (sorted(turned, reverse=True) == turned) == scale.is_turned
    assert Scale.of("err,none", False).turn(0.25) == 0.75
    assert Scale.of("nll,none", False).turn(0.25) == -0.25


def test_a_loss_has_no_bounds_and_an_error_rate_has() -> None:
    assert is_bounded(scores("err,none", (0.0, 1.0), higher=False))
    assert not is_bounded(scores("mse,none", (0.3, 0.9), higher=False))
    assert not is_bounded(scores("nll,none", (-0.3, -0.9), higher=False))


def test_suites_of_both_directions_are_shown_by_their_scores() -> None:
    up, down = (
        scores("acc,none", (1.0, 0.0), higher=True),
        scores("err,none", (0.0, 1.0), higher=False, suite="b"),
    )
    mixed = Scorecard((up, down))
    assert mixed.scale == HIGHER
    assert mixed.metric == "mean of a acc,none; b 1 - err,none"
    both = Scorecard((scores("nll,none", (-2.0,), higher=False), down))
    assert both.scale == scale_of([Scale(0.0), Scale(1.0)]) == Scale(0.5)
    assert both.scale.turn(both.mean) == pytest.approx((2.0 + 0.5) / 2)
    assert metric_text(both) == "mean of a nll,none; b err,none (lower is better)"


def test_scores_keep_their_direction_in_json_and_those_of_before_have_theirs() -> None:
    down = scores("err,none", (0.0, 1.0), higher=False)
    assert DocumentScores.from_json(down.to_json()) == down
    up = scores("acc,none", (0.0, 1.0), higher=True)
    assert "higher_is_better" not in up.to_json()
    before = up.to_json() | {"metric": "-target_nll", "values": [-1.5, -0.5]}
    read = DocumentScores.from_json(before)
    assert (read.metric, read.higher_is_better) == ("target_nll", False)
    assert read.scale.turn(read.mean) == 1.0


def test_a_unit_turns_scores_and_ends_and_never_gains() -> None:
    unit = Unit(scale=Scale(1.0))
    interval = Interval(0.75, 0.625, 0.875)
    assert unit.full(interval) == "25.0% (12.5 to 37.5)"
    assert unit.line(interval) == "25.0% [12.5%, 37.5%]"
    assert unit.tick(1.0) == "0%"
    assert unit.full(Interval(0.05, 0.01, 0.09), sign=True) == "+5.0 (1.0 to 9.0)"
    assert unit.beside(0.05, "sums") == "5.0 points better than sums"
    assert unit.beside(-0.05, "sums") == "5.0 points worse than sums"
    loss = Unit(percent=False, scale=Scale(0.0))
    assert loss.full(Interval(-2.5, -3.0, -2.0)) == "2.5 (2 to 3)"
    assert loss.score(-math.inf) == "unbounded"
