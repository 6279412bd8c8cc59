"""Directions of a study: computed once, from search documents alone, and searched from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.harness import Judge
from exme.search.directions import prompts
from exme.search.directions.warm_start import WarmStart
from exme.search.merging.folders.recipe import materialise, read_recipe
from exme.search.opening import workshop as settle
from exme.search.opening.workshop import Workshop
from exme.search.proof.verdict import verdict
from exme.search.reports.exports.export import export_best
from exme.search.running.search import open_search
from exme.tasks.documents import SuiteDocuments
from exme.tasks.errors import UserError
from tests.helpers.models.directions import quick_and_wide
from tests.helpers.searches.opened import Opened, close, study_file

__all__ = ["quick_and_wide"]  # a fixture


@pytest.fixture(autouse=True)
def few_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "COUNT", 2)
    monkeypatch.setattr(WarmStart, "steps", 1)


SETTINGS: dict[str, Any] = {
    "directions": ["doge", "nll"],
    "documents": {"search": 16, "report": 16},
    "budget": {"trials": 8},
}


def test_a_search_tries_directions_after_the_inputs_and_searches_their_coefficients(
    tmp_path: Path,
) -> None:
    opened = Opened(tmp_path, **SETTINGS)
    outcome = opened.search.run()
    close(opened)
    assert [t.origin for t in outcome.trials[:7]] == [
        "sums alone", "products alone", "mean", "doge", "nll", "ExPO 0.3 of sums", "ExPO 0.5 of sums",
    ]  # fmt: skip
    made = [t.candidate for t in outcome.trials if t.candidate is not None]
    assert made[0].coefficients == {"sums": 1.0, "products": 0.0, "doge": 0.0}
    assert made[2].coefficients == {"sums": 0.5, "products": 0.5, "doge": 0.0}
    assert made[3].coefficients == {"sums": 0.0, "products": 0.0, "doge": 1.0}
    assert made[4].coefficients["doge"] == 0.0 and 0 <= made[4].coefficients["sums"] <= 1.6
    assert made[7].coefficients["doge"] > 0.0  # the sampler varies it
    assert set(outcome.bounds) == {"sums", "products", "doge"}
    assert [entry.name for entry in outcome.inputs] == ["base", "sums", "products"]
    assert verdict(outcome).is_final  # a task vector is no input that the proof would wait for
    assert any(line.startswith("Computing direction doge (DOGE)") for line in opened.lines)


@pytest.mark.slow
def test_a_resumed_search_reuses_its_directions_and_a_changed_list_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Opened(tmp_path, **SETTINGS | {"budget": {"trials": 3}})
    before = first.search.run()
    close(first)
    monkeypatch.setattr(Workshop, "compute", lambda _: pytest.fail("computed again"))
    again = Opened(tmp_path, **SETTINGS)
    outcome = again.search.run()
    close(again)
    assert [t.candidate for t in outcome.trials[:3]] == [t.candidate for t in before.trials[:3]]
    assert outcome.trials[3].origin == "doge" and outcome.trials[3].scores is not None
    with pytest.raises(UserError, match="directions changed since study"):
        Opened(tmp_path, **SETTINGS | {"directions": ["doge"]})


def test_another_task_vector_than_the_studys_is_refused(tmp_path: Path) -> None:
    settings = SETTINGS | {"directions": ["doge"], "budget": {"trials": 1}}
    first = Opened(tmp_path, **settings)
    first.search.run()
    close(first)
    record = first.search.folder / "directions/doge/direction.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"sha256": "0" * 64}))
    with pytest.raises(UserError, match="holds another task vector than the one that study"):
        Opened(tmp_path, **settings)


def workshop(opened: Opened, documents: list[SuiteDocuments] | None = None) -> Workshop:
    search = opened.search
    return Workshop(
        search.study,
        search.sources,
        documents or search.documents,
        search.precision,
        search.folder,
        lambda _: None,
    )


def test_report_documents_are_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS | {"directions": ["regmean", "nll"]}
    opened = Opened(tmp_path, **settings)
    read: list[str] = []
    build = Judge.__init__

    def watch(self: Any, documents: SuiteDocuments, split: str, *rest: Any) -> None:
        read.extend(d.id for d in (*documents.search, *documents.report))
        build(self, documents, split, *rest)

    monkeypatch.setattr(Judge, "__init__", watch)
    found = workshop(opened).compute()
    (documents,) = opened.search.documents
    assert read and not set(read) & {d.id for d in documents.report}
    assert set(read) <= {d.id for d in documents.search}
    used = found.records["nll"]["documents"]
    assert used == [f"gsm8k:{d.id}" for d in documents.search[-2:]]
    # Other report documents give the same bits.
    other = replace(documents, report=documents.report[:1])
    again = Workshop(
        opened.search.study, opened.search.sources, [other], opened.search.precision,
        tmp_path / "other", lambda _: None,
    ).compute()  # fmt: skip
    assert again.records["regmean"]["sha256"] == found.records["regmean"]["sha256"]
    assert again.records["nll"]["coefficients"] == found.records["nll"]["coefficients"]
    close(opened)


def test_a_direction_that_dies_halfway_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(tmp_path, **SETTINGS)
    folder = opened.search.folder / "directions"

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("exme.search.directions.doge.Doge.merge", die)
    with pytest.raises(KeyboardInterrupt):
        workshop(opened).compute()
    assert list(folder.iterdir()) == []
    monkeypatch.undo()
    left = folder / ".doge.partial-1"  # as kill -9 leaves it
    left.mkdir()
    (left / "task_vector.safetensors").write_bytes(b"half")
    monkeypatch.setattr(prompts, "COUNT", 2)
    monkeypatch.setattr(WarmStart, "steps", 1)
    assert set(workshop(opened).compute().records) == {"doge", "nll"}
    assert sorted(path.name for path in folder.iterdir()) == ["doge", "nll"]
    # What was made of something else is not taken for it.
    record = folder / "doge/direction.json"
    content = json.loads(record.read_text())
    content["made_of"]["sums"] = "0" * 64
    record.write_text(json.dumps(content))
    assert workshop(opened).present() is None
    close(opened)


def test_a_winner_with_a_direction_is_exported_and_its_recipe_makes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(tmp_path / "runs", **SETTINGS | {"budget": {"trials": 5}})
    opened.landscape.peak = {"sums": 0.0, "products": 0.0, "doge": 1.0}
    opened.search.work()
    result = export_best(opened.search, tmp_path / "out")
    close(opened)
    wanted = read_recipe(tmp_path / "out")
    assert wanted.candidate.coefficients["doge"] == 1.0
    place = opened.search.folder / "directions/doge"
    again = materialise(tmp_path / "out", tmp_path / "again", within=[place.parent])
    assert again.weights_digest == result.weights_digest
    config = (tmp_path / "out/mergekit_config.yml").read_text()
    assert "'doge' is a direction that ExMe computed" in config
    place.rename(place.with_name("gone"))
    with pytest.raises(UserError, match=r"'doge' is \./doge"):
        materialise(tmp_path / "out", tmp_path / "third", within=[place.parent])


def test_a_real_worker_scores_a_search_from_a_direction(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"directions": ["doge"], "documents": {"search": 3, "report": 2}}
    study = study_file(**settings, max_gen_toks=8, budget={"trials": 5})
    with open_search(study, "gsm8k", name="test", runs=tmp_path) as search:  # the models themselves
        outcome = search.run()
    scored = {t.origin: t.scores for t in outcome.trials if t.scores is not None}
    assert {"sums alone", "products alone", "mean", "doge"} <= set(scored)
    assert scored["doge"].count == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"directions": ["regmaen"]}, "no direction 'regmaen' .*did you mean 'regmean'"),
        ({"directions": ["doge", "doge"]}, "each of them once"),
        (
            {"directions": ["doge"], "checkpoints": {"a": "mini/sums"}},
            "'doge' merges 2 checkpoints or more, found 1",
        ),
        ({"directions": ["doge"], "method": "ties"}, "which method 'ties' cannot take"),
        (
            {"directions": ["nll"], "checkpoints": {"nll": "mini/sums", "b": "mini/products"}},
            "checkpoint name 'nll' is a direction's, too",
        ),
    ],
)
def test_directions_that_do_not_fit_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        study_file(**changes)


def test_starting_coefficients_go_with_every_method() -> None:
    assert study_file(directions=["adamerging", "nll"], method="ties").directions


def test_a_suite_without_reference_answers_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: Any) -> Any:
        raise UserError("suite 'ifeval': no reference answer to measure target_nll by")

    monkeypatch.setattr(Judge, "references", property(none))
    opened = Opened(tmp_path, **SETTINGS | {"directions": ["nll"]})
    with pytest.raises(UserError, match="direction 'nll' learns from reference answers, and there"):
        opened.search.work()
    assert not (opened.search.folder / settle.FOLDER / "nll").exists()
    close(opened)
