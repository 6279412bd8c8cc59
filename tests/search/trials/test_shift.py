"""The shift from a parent: what it is, what a bound keeps out, what a penalty takes off."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exme.search.merging.candidate import Candidate
from exme.search.merging.groups import Groups
from exme.search.merging.sources.adapter import open_checkpoint
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources
from exme.search.opening.gram import gram
from exme.search.proof.outcome import Outcome
from exme.search.reports.pages.report import write_report
from exme.search.study.space import Space
from exme.search.study.study_file import StudyFile
from exme.search.trials.ranking import best_trial
from exme.search.trials.shift import Gram, Shift
from exme.search.trials.standing import scores_seen
from exme.tasks.errors import UserError
from exme.tasks.mini import MODELS
from tests.helpers.models.small_models import make_family
from tests.helpers.searches.opened import Opened, close, racing, study_file

NAMES = ("math", "code")
PAIR = ("sums", "products")
HILL = {"sums": 1.6, "products": 1.2}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_family(tmp_path_factory.mktemp("family"), "llama-tied")


def sources_of(family: dict[str, Path]) -> Sources:
    base = Checkpoint("base", family["base"])
    return Sources(base, {n: open_checkpoint(n, family[n], base) for n in NAMES})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {n: t.double() for n, t in load_file(folder / "model.safetensors").items()}


def by_hand(
    family: dict[str, Path], coefficients: dict[str, dict[str, float]], parent: str, spec: Any
) -> float:
    """The shift in float64, from whole tensors: the candidate is made and measured."""
    base, of = weights(family["base"]), {n: weights(family[n]) for n in NAMES}
    groups = Groups(spec, base) if spec else None
    above = below = 0.0
    for tensor, origin in base.items():
        c = coefficients[groups.of(tensor) if groups else ""]
        made = origin + sum(c[n] * (of[n][tensor] - origin) for n in NAMES)
        above += float(((made - of[parent][tensor]) ** 2).sum())
        below += float(((of[parent][tensor] - origin) ** 2).sum())
    return math.sqrt(above / below)


def test_a_shift_is_that_of_the_weights_themselves(family: dict[str, Path]) -> None:
    """Against an explicit float64 computation; the Gram matrix takes deltas in float32: 6 digits."""
    measured = gram(sources_of(family), NAMES, {})
    for parent in NAMES:
        shift = Shift(measured, (parent,))
        for c in ((0.7, 0.4), (1.3, 0.0), (0.0, 0.0), (-0.5, 2.0)):
            values = dict(zip(NAMES, c, strict=True))
            expected = by_hand(family, {"": values}, parent, {})
            nearest, found = shift.of(Candidate(values, "exme", "bfloat16", {}))
            assert nearest == parent and found == pytest.approx(expected, rel=1e-6)


def test_groups_have_a_gram_matrix_each(family: dict[str, Path]) -> None:
    spec = {"kinds": ["attention", "mlp"]}
    measured = gram(sources_of(family), NAMES, spec)
    assert set(measured.groups) == {"attention", "mlp", "rest"}
    values = {
        "attention": {"math": 0.3, "code": 0.9},
        "mlp": {"math": 1.4, "code": 0.1},
        "rest": {"math": 0.5, "code": 0.5},
    }
    made = Candidate({}, "exme", "bfloat16", {}, groups=spec, grouped=values)
    for parent in NAMES:
        found = Shift(measured, (parent,)).of(made)[1]
        assert found == pytest.approx(by_hand(family, values, parent, spec), rel=1e-6)
    whole = gram(sources_of(family), NAMES, {})
    total = sum(measured.groups.values())
    assert np.allclose(total, whole.groups[""], rtol=1e-12)


def test_what_the_weights_hold_is_told_apart_from_what_they_are(
    family: dict[str, Path], tmp_path: Path
) -> None:
    damaged = tmp_path / "math"
    damaged.mkdir()
    for file in family["math"].iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    content = load_file(damaged / "model.safetensors")
    content[next(iter(content))].view(-1)[3] = math.nan
    save_file(content, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"checkpoint 'math': tensor '.*' holds NaN"):
        gram(sources_of(family | {"math": damaged}), NAMES, {})


def random_gram(seed: int, groups: tuple[str, ...] = ("",), names: tuple[str, ...] = PAIR) -> Gram:
    generator = np.random.default_rng(seed)
    found = {}
    for label in groups:
        deltas = generator.normal(size=(len(names), 40)) * generator.uniform(
            0.5, 2, (len(names), 1)
        )
        found[label] = deltas @ deltas.T
    return Gram(names, found)


def test_known_points_have_the_shifts_that_they_must() -> None:
    shift = Shift(random_gram(0), PAIR)
    assert shift.nearest({"sums": 1.0, "products": 0.0}) == ("sums", 0.0)
    assert shift.nearest({"sums": 0.0, "products": 0.0})[1] == pytest.approx(1)  # the base
    parent, found = shift.nearest({"sums": 0.0, "products": 1.5})  # ExPO
    assert parent == "products" and found == pytest.approx(0.5)
    assert Gram.from_json(shift.gram.to_json()).norms == shift.gram.norms


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("parents", [("sums",), PAIR])
@pytest.mark.parametrize("labels", [(), ("low", "high")])
def test_a_proposal_beyond_the_bound_is_moved_onto_it(
    seed: int, parents: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    shift = Shift(random_gram(seed, labels or ("",)), parents, bound=0.4)
    spec = {"patterns": {"low": ["a*"], "high": ["b*"]}}
    space = Space(("exme",), PAIR, groups=labels, spec=spec)
    generator = np.random.default_rng(seed)
    proposal = {name: float(generator.uniform(-2, 3)) for name in space.coefficients}

    def shift_of(values: Any) -> tuple[str, float]:
        made = space.candidate(values, dtype="float32", sources={})
        return shift.of(made)

    before = shift_of(proposal)
    moved = shift.within(proposal, space)
    after = shift_of(moved)
    if before[1] <= 0.4:
        assert moved == proposal
    else:
        assert 0.39 < after[1] <= 0.4
        assert shift.within(moved, space) == moved
    box = shift.box(space, PAIR)
    assert all(low - 1e-9 <= float(moved[n]) <= high + 1e-9 for n, (low, high) in box.items())


def test_one_coefficient_is_bounded_by_the_box_alone() -> None:
    space = Space(("expo",), ("sums",))
    shift = Shift(random_gram(1, names=("sums",)), ("sums",), bound=0.4)
    assert shift.box(space, ("sums",))["sums"] == pytest.approx((0.6, 1.4))


def test_shares_of_a_mean_stay_shares() -> None:
    space = Space(("linear",), PAIR)
    shift = Shift(random_gram(2), PAIR, bound=0.2)
    assert shift.box(space, PAIR) == {}
    moved = shift.within({"share of sums": 0.5}, space)
    made = space.candidate(moved, dtype="float32", sources={})
    assert sum(made.coefficients.values()) == pytest.approx(1)
    assert shift.of(made)[1] <= 0.2


# Whole searches ----------------------------------------------------------------------------------


def in_the_report(outcome: Outcome, folder: Path) -> str:
    return write_report(outcome, folder).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["auto", "gp", "cmaes", "tpe", "qmc", "random"])
def test_nothing_beyond_the_bound_is_scored_and_the_best_is_within_it(
    tmp_path: Path, sampler: str
) -> None:
    """The hill is beyond: the shift of its top from the nearest parent is 0.73, the bound 0.3."""
    opened = Opened(
        tmp_path,
        HILL,
        racing="on",
        sampler=sampler,
        budget={"trials": 16},
        shift={"bound": 0.3},
        starts=[{"sums": 1.1}],
    )
    outcome = opened.search.run()
    assert opened.search.settled.objective.shift is not None
    assert opened.search.settled.objective.shift.nearest(HILL)[1] > 0.7
    scored = [t for t in outcome.trials if t.scores or t.race_log]
    assert all(t.shift is not None and t.shift <= 0.3 + 1e-9 and not t.barred for t in scored)
    assert {t.origin for t in scored} >= {"sums alone", "products alone", "start 1"}
    assert {t.origin for t in scored}.isdisjoint({"mean", "ExPO 0.5 of sums"})
    assert any("Not tried: mean, whose shift of " in line for line in opened.lines)
    assert outcome.winner is not None and outcome.winner.shift is not None
    assert 0.2 < outcome.winner.shift <= 0.3 + 1e-9  # as near to the hill as may be
    assert any("  shift 0." in line and " from sums" in line for line in opened.lines)
    report = in_the_report(outcome, tmp_path)
    assert "Its shift from sums is 0." in report and " shift 0.00 from products" in report
    frozen = opened.search.storage.study.get_trials()
    for trial in scored:  # what Optuna was told to try is what was tried
        assert trial.candidate is not None
        for name, value in trial.candidate.coefficients.items():
            assert frozen[trial.number].params[name] == pytest.approx(value, abs=1e-4)


def test_an_input_beyond_the_bound_of_a_named_parent_is_scored_and_cannot_win(
    tmp_path: Path,
) -> None:
    hill = {"sums": 0.0, "products": 1.0}  # the best of all is the other input
    opened = Opened(tmp_path, hill, budget={"trials": 14}, shift={"parent": "sums", "bound": 0.5})
    outcome = opened.search.run()
    trials = {t.origin: t for t in outcome.trials}
    other = trials["products alone"]
    assert other.scores is not None and other.barred and not other.feasible
    assert outcome.winner is not None and outcome.winner.scores is not None
    assert outcome.winner.scores.mean < other.scores.mean
    assert outcome.winner.shift is not None and outcome.winner.shift <= 0.5
    assert best_trial([other]) is None
    assert "beyond the bound: it cannot win" in in_the_report(outcome, tmp_path)


@pytest.mark.slow
def test_a_penalty_draws_the_best_to_a_parent_and_leaves_scores_as_they_are(tmp_path: Path) -> None:
    def best(name: str, **shift: Any) -> Any:
        opened = racing(tmp_path / name, budget={"documents": 1500}, **shift)
        outcome = opened.search.run()
        assert outcome.winner is not None and outcome.winner.candidate is not None
        truth = opened.landscape.score(outcome.winner.candidate, "search").scores
        (counted,), (whole,) = scores_seen(outcome.winner).parts, truth.parts
        known = dict(zip(whole.documents, whole.values, strict=True))
        assert counted.values == tuple(known[document] for document in counted.documents)
        return outcome, in_the_report(outcome, tmp_path / name)

    plain, _ = best("plain")
    assert plain.winner.shift is None and plain.winner.penalty == 0
    near, report = best("near", shift={"penalty": 60})
    assert near.winner.penalty == pytest.approx(0.6 * near.winner.shift)
    far = [t for t in near.trials if t.candidate == plain.winner.candidate]
    assert not far or near.winner.shift < far[0].shift
    # (within half a point the one that was scored on all documents keeps the name)
    believed = max(t.belief for t in near.trials if t.belief is not None)
    assert believed - 0.005 <= near.winner.belief <= believed
    merits = {t.number: t.scores.mean - t.penalty for t in near.trials if t.scores}
    assert all(near.trials[n].value == pytest.approx(merit) for n, merit in merits.items())
    assert "points off its score for that, which the scores here do not show" in report


@pytest.mark.slow
def test_who_is_stopped_under_a_penalty_was_worse_by_what_the_search_goes_by(
    tmp_path: Path,
) -> None:
    opened = racing(tmp_path, sampler="random", budget={"trials": 25}, shift={"penalty": 20})
    trials = opened.search.run().trials
    rejected = [t for t in trials if t.state == "rejected" and t.candidate and t.race_log]
    assert len(rejected) > 8
    for trial in rejected:
        assert trial.candidate is not None and trial.race_log is not None
        rival = trials[trial.race_log.lost_to or 0]
        truth = opened.landscape.score(trial.candidate, "search").scores.mean
        assert rival.scores is not None
        assert truth - trial.penalty < rival.scores.mean - rival.penalty


@pytest.mark.slow
def test_a_search_with_a_bound_goes_on_where_it_was(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"sampler": "random", "shift": {"bound": 0.3, "penalty": 5}}
    whole = racing(tmp_path / "whole", budget={"trials": 14}, **settings).search.run()
    first = racing(tmp_path / "two", budget={"trials": 8}, **settings)
    first.search.work()
    kept = first.search.storage.record.agreed("gram")
    assert set(kept) == {"sources", "groups"}
    close(first)
    again = racing(tmp_path / "two", budget={"trials": 14}, **settings)
    outcome = again.search.run()
    assert [t.candidate for t in outcome.trials if t.origin != "final"] == [
        t.candidate for t in whole.trials if t.origin != "final"
    ]
    assert outcome.winner is not None and whole.winner is not None
    assert outcome.winner.candidate == whole.winner.candidate
    close(again)
    read = racing(tmp_path / "two", budget={"trials": 14}, **settings)  # nothing but looked at
    assert read.search.outcome().winner == outcome.winner


def test_a_bound_holds_beside_groups_and_a_pareto_front(tmp_path: Path) -> None:
    opened = racing(
        tmp_path,
        budget={"trials": 12},
        shift={"bound": 0.3},
        groups={"kinds": ["attention", "mlp"]},
    )
    trials = opened.search.run().trials
    assert all(t.shift <= 0.3 + 1e-9 for t in trials if t.shift is not None and t.scores)
    assert any(t.candidate and t.candidate.grouped for t in trials)


# Study files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shift": {}}, "shift: set bound, penalty or both"),
        ({"shift": {"bound": 0}}, "greater than 0"),
        ({"shift": {"bound": -1.5}}, "greater than 0"),
        ({"shift": {"penalty": "much"}}, "valid number"),
        ({"shift": {"bound": float("nan")}}, "finite number"),
        ({"shift": 1.5}, "shift"),
        ({"shift": {"bound": 1, "parent": "sum"}}, r"shift.parent: 'sum' is not in checkpoints \(have: sums, products\)"),
        ({"shift": {"bound": 1}, "method": "ties"}, "method 'ties' masks or turns"),
        ({"shift": {"bound": 1}, "method": ["exme", "dare_linear"]}, "dare"),
        ({"shift": {"penalty": 1}, "goal": "pareto"}, "use shift.bound"),
        ({"shift": {"bound": 1}, "space": {"coefficients": [0.2, 0.8]}}, "parents have coefficients 0 and 1"),
    ],
)  # fmt: skip
def test_a_shift_that_cannot_be_used_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        study_file(**changed)


def test_a_parent_that_is_the_base_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "base", tmp_path / "same")
    study: dict[str, Any] = {
        "checkpoints": {"same": str(tmp_path / "same"), "sums": "mini/sums"},
        "method": "exme",
    }
    opened = Opened(tmp_path, {"same": 1.0}, **study, shift={"parent": "same", "bound": 1.0})
    with pytest.raises(UserError, match="shift: same is the base itself"):
        opened.search.run()
    assert opened.landscape.calls == []
    assert opened.search.storage.record.agreed("gram") is None


def test_without_the_key_nothing_is_measured(tmp_path: Path) -> None:
    opened = Opened(tmp_path, budget={"trials": 4})
    outcome = opened.search.run()
    assert opened.search.storage.record.agreed("gram") is None
    assert {t.shift for t in outcome.trials} == {None}
    assert StudyFile.model_validate(opened.search.study.model_dump()).shift is None
