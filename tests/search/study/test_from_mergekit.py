"""A mergekit configuration as the start of a study, and a study's results as tables."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.mergekit import mergekit_config
from exme.search.merging.methods import PLAIN
from exme.search.proposing.plan import Plan
from exme.search.reports.pages.data_frame import documents_table, trials_table, write_table
from exme.search.running.search import open_search
from exme.search.study.from_mergekit import read_mergekit
from exme.search.study.study_file import StudyFile, load_study_file
from exme.search.trials.standing import standing_by_trial, standings
from exme.tasks.errors import UserError
from exme.tasks.mini import MODELS
from tests.helpers.places import ROOT
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.two_suites import study_file

NAMES = {"base": "mini/base", "sums": "mini/sums", "products": "mini/products"}


def configuration(folder: Path, **content: Any) -> Path:
    models = [
        {"model": "mini/base"},
        {"model": "mini/sums", "parameters": {"weight": 0.6}},
        {"model": "mini/products", "parameters": {"weight": 0.9}},
    ]
    path = folder / "merge.yml"
    base = {"merge_method": "task_arithmetic", "base_model": "mini/base", "models": models}
    path.write_text(yaml.safe_dump(base | content))
    return path


@pytest.mark.parametrize(
    ("changed", "method", "point"),
    [
        ({}, "exme", {"sums": 0.6, "products": 0.9}),
        ({"parameters": {"lambda": 1.5}}, "exme", {"sums": 0.9, "products": 1.35}),
        ({"merge_method": "linear"}, "exme", {"sums": 0.4, "products": 0.6}),
        (
            {"merge_method": "ties", "parameters": {"density": 0.5}},
            "ties",
            {"sums": 0.4, "products": 0.6, "density": 0.5},
        ),
        # What mergekit 0.1.5 takes where nothing is said: these do not divide by the sum of the weights ...
        (
            {"merge_method": "dare_linear", "parameters": {"density": 0.5}},
            "dare_linear",
            {"sums": 0.6, "products": 0.9, "density": 0.5},
        ),
        (
            {"merge_method": "dare_ties", "parameters": {"density": 0.5}},
            "dare_ties",
            {"sums": 0.6, "products": 0.9, "density": 0.5},
        ),
        # ... and these have parameters that are not 0.
        (
            {"merge_method": "breadcrumbs", "parameters": {"density": 0.5}},
            "breadcrumbs",
            {"sums": 0.6, "products": 0.9, "density": 0.5, "gamma": 0.01},
        ),
        (
            {"merge_method": "della", "parameters": {"density": 0.5}},
            "della",
            {"sums": 0.4, "products": 0.6, "density": 0.5, "epsilon": 0.15},
        ),
        ({"merge_method": "model_stock"}, "model_stock", {}),
        (
            {"merge_method": "della_linear", "parameters": {"density": 0.5, "epsilon": 0.1}},
            "della_linear",
            {"sums": 0.6, "products": 0.9, "density": 0.5, "epsilon": 0.1},
        ),
        # One number, however it is written.
        (
            {"parameters": {"lambda": [{"value": 1.5}]}},
            "exme",
            {"sums": 0.9, "products": 1.35},
        ),
    ],
)
def test_models_method_and_point_are_taken(
    tmp_path: Path, changed: dict[str, Any], method: str, point: dict[str, float]
) -> None:
    found = read_mergekit(configuration(tmp_path, **changed))
    assert found.base == "mini/base"
    assert found.checkpoints == {"sums": "mini/sums", "products": "mini/products"}
    assert found.method == method
    assert found.point == pytest.approx(point)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("of_base", [0.0, 0.5])
def test_a_linear_merge_is_tried_as_mergekit_makes_it(
    tmp_path: Path, of_base: float, normalize: bool
) -> None:
    weights = {"base": of_base, "sums": 0.3, "products": 0.7 - of_base}
    vectors = {name: torch.randn(9, dtype=torch.float64) for name in weights}
    models = [{"model": NAMES[n], "parameters": {"weight": w}} for n, w in weights.items()]
    path = tmp_path / "merge.yml"
    content = {"merge_method": "linear", "models": models, "parameters": {"normalize": normalize}}
    path.write_text(yaml.safe_dump(content))
    made = sum(w * vectors[name] for name, w in weights.items())  # its linear.py
    point = read_mergekit(path, "mini/base").point
    tried = vectors["base"] + sum(c * (vectors[n] - vectors["base"]) for n, c in point.items())
    torch.testing.assert_close(tried, made)


def test_our_own_recipe_comes_back(tmp_path: Path) -> None:
    every: list[tuple[str, dict[str, float]]] = [
        ("exme", {}),
        ("ties", {"density": 0.4}),
        ("breadcrumbs", {"density": 0.6, "gamma": 0.1}),
    ]
    for method, parameters in every:
        made = Candidate({"sums": 1.2, "products": 0.3}, method, "bfloat16", {}, 0, parameters)
        (tmp_path / "own.yml").write_text(mergekit_config(made, NAMES))
        found = read_mergekit(tmp_path / "own.yml")
        assert found.point == pytest.approx({"sums": 1.2, "products": 0.3, **parameters})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"merge_method": "tie"}, "no merge_method 'tie' can begin.*did you mean 'ties'"),
        (
            {"merge_method": "passthrough"},
            "passthrough' stacks layers of several models.*docs/limits.md",
        ),
        ({"merge_method": "nuslerp"}, "nuslerp' is not among ExMe's methods; slerp is near"),
        ({"merge_metod": "ties"}, "'merge_metod' is no key .*did you mean 'merge_method'"),
        (
            {"parameters": {"weigth": 1}},
            "'weigth' is no parameter of task_arithmetic .*did you mean 'weight'",
        ),
        (
            {"models": [{"model": "mini/sums", "parameters": {"weigth": 0.8}}]},
            "'weigth' is no parameter of task_arithmetic .*did you mean 'weight'",
        ),
        ({"parameters": {"gamma": 0.1}}, "'gamma' is no parameter of task_arithmetic"),
        (
            {"merge_method": "dare_ties", "parameters": {"rescale": False}},
            "rescale: false is not what",
        ),
        ({"merge_method": "model_stock", "parameters": {"filter_wise": True}}, "filter_wise: true"),
        ({"parameters": {"normalize": "maybe"}}, "normalize is 'maybe', expected true or false"),
        ({"dtype": "float64"}, "dtype 'float64', expected one of float32"),
        ({"experts": []}, r"makes mixtures of experts \(mergekit-moe\).*docs/limits.md"),
        ({"modules": {}}, "makes `modules`.*docs/limits.md"),
        ({"models": "mini/sums"}, "models: expected a list, found 'mini/sums'"),
        ({"models": ["mini/sums"]}, "a model: expected keys and values, found 'mini/sums'"),
        ({"parameters": [1]}, r"parameters: expected keys and values, found '\[1\]'"),
        (
            {
                "models": [
                    {
                        "model": "mini/sums",
                        "parameters": {"weight": [{"filter": "mlp", "value": 1}, {"value": 0}]},
                    }
                ]
            },
            r"for values by tensors search over `groups: \{kinds:",
        ),
        (
            {
                "merge_method": "ties",
                "models": [
                    {"model": "mini/sums", "parameters": {"weight": 1, "density": 0.3}},
                    {"model": "mini/products", "parameters": {"weight": 1, "density": 0.6}},
                ],
            },
            r"density differs between models \(0.3, 0.6\); a study has one for all: give them one",
        ),
        ({"models": [{"model": "a/b+c/lora"}]}, "adds a LoRA adapter"),
        (
            {"models": [{"model": "mini/sums", "parameters": {"weight": [0, 1]}}]},
            r"weight is \[0, 1\], expected one number",
        ),
        ({"models": [{"parameters": {}}]}, "a model without a name"),
        (
            {"merge_method": "linear", "parameters": {"normalize": False}},
            "its weights add up to 1.5: no sum of task vectors does that",
        ),
    ],
)
def test_what_a_study_cannot_hold_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_mergekit(configuration(tmp_path, **changed))


def test_a_configuration_without_a_base_is_named_with_what_to_give(
    tmp_path: Path,
) -> None:
    path = tmp_path / "linear.yml"
    path.write_text("merge_method: linear\nmodels: [{model: mini/sums, parameters: {weight: 1}}]\n")
    arguments = ["init", str(tmp_path / "mine.yaml"), "--from-mergekit", str(path)]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UserError)
    assert "linear.yml: names no base_model" in str(result.exception)
    assert CliRunner().invoke(app, [*arguments, "--base", "mini/base"]).exit_code == 0


def test_init_writes_a_study_that_tries_the_point_first(tmp_path: Path) -> None:
    study = tmp_path / "mine.yaml"
    source = ["--from-mergekit", str(configuration(tmp_path))]
    result = CliRunner().invoke(app, ["init", str(study), *source])
    assert result.exit_code == 0, result.output
    content = load_study_file(study)
    assert content.starts == ({"sums": 0.6, "products": 0.9},)
    due = Plan(content).due_points([])
    (point,) = [p for p in due if p.name == "start 1"]
    assert point.coefficients == {"sums": 0.6, "products": 0.9}


def study_of(folder: Path, content: dict[str, Any] | str, *more: str) -> tuple[StudyFile, str]:
    """The study that `exme init --from-mergekit` writes, and what it says."""
    path, study = folder / "theirs.yml", folder / "mine.yaml"
    path.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    words = ["init", str(study), "--from-mergekit", str(path), "--force", *more]
    result = CliRunner().invoke(app, words)
    if result.exception is not None:
        raise result.exception
    return load_study_file(study), result.output


TIES = {
    "merge_method": "ties",
    "base_model": "mini/base",
    "models": [
        {"model": "mini/base"},
        {"model": "mini/sums", "parameters": {"weight": 0.5, "density": 0.5}},
        {"model": "mini/products", "parameters": {"weight": 0.3, "density": 0.5}},
    ],
}


def test_what_a_file_says_beside_its_point_is_carried_over_or_named(tmp_path: Path) -> None:
    more = {
        "dtype": "float16",
        "random_seed": 7,
        "tokenizer_source": "union",
        "chat_template": "chatml",
    }
    study, said = study_of(tmp_path, TIES | more)
    assert (study.method, study.dtype, study.sampler.seed, study.vocabulary) == (
        "ties",
        "float16",
        7,
        "union",
    )
    assert study.starts == ({"sums": 0.625, "products": 0.375, "density": 0.5},)
    assert (
        "mergekit divides the weights of ties by their sum, 0.8: sums 0.5 is 0.625, products 0.3 is 0.375."
        in said
    )
    for name in ("random_seed", "tokenizer_source union", "chat_template"):
        assert name in said
    study, said = study_of(tmp_path, TIES | {"dtype": "float32", "out_dtype": "bfloat16"})
    assert study.dtype == "bfloat16"
    study, said = study_of(tmp_path, TIES | {"tokenizer_source": "mini/sums"})
    assert study.vocabulary == "same" and "tokenizer_source mini/sums is left out" in said
    text = (tmp_path / "mine.yaml").read_text()
    assert "# the base's in all checkpoints; union: merged by token string" in text  # comments stay


def test_a_linear_file_with_the_base_among_its_models_by_another_path(tmp_path: Path) -> None:
    content = {
        "merge_method": "linear",
        "models": [
            {"model": str(MODELS / "base"), "parameters": {"weight": 0.2}},
            {"model": str(MODELS / "sums"), "parameters": {"weight": 0.5}},
            {"model": str(MODELS / "products"), "parameters": {"weight": 0.3}},
        ],
    }
    other = tmp_path / "base"
    other.symlink_to(MODELS / "base")
    study, _ = study_of(tmp_path, content, "--base", str(other))
    assert list(study.checkpoints) == ["sums", "products"]
    assert study.starts == ({"sums": 0.5, "products": 0.3},)


def test_a_whole_slice_is_a_plain_merge_and_others_are_sent_to_the_limits(tmp_path: Path) -> None:
    layers = json.loads((MODELS / "base" / "config.json").read_text())["num_hidden_layers"]

    def sliced(*ranges: list[int]) -> dict[str, Any]:
        slices = [
            {
                "sources": [
                    {"model": "mini/sums", "layer_range": r, "parameters": {"weight": 0.6}},
                    {"model": "mini/products", "layer_range": r, "parameters": {"weight": 0.9}},
                ],
                "parameters": {"lambda": 0.5},
            }
            for r in ranges
        ]
        return {"merge_method": "task_arithmetic", "base_model": "mini/base", "slices": slices}

    study, _ = study_of(tmp_path, sliced([0, layers]))
    assert study.starts == ({"sums": 0.3, "products": 0.45},)
    for ranges in ([[0, layers - 1]], [[1, layers]], [[0, 1], [1, layers]]):
        with pytest.raises(UserError, match=r"docs/limits\.md"):
            study_of(tmp_path, sliced(*ranges))


@pytest.mark.parametrize("where", ["models", "slices"])
def test_slerp_begins_between_its_two_models(tmp_path: Path, where: str) -> None:
    layers = json.loads((MODELS / "base" / "config.json").read_text())["num_hidden_layers"]
    names = ["mini/sums", "mini/products"]
    given: dict[str, Any] = {"models": [{"model": name} for name in names]}
    if where == "slices":
        sources = [{"model": name, "layer_range": [0, layers]} for name in names]
        given = {"slices": [{"sources": sources}]}
    content = {"merge_method": "slerp", "base_model": "mini/sums", "parameters": {"t": 0.3}} | given
    with pytest.raises(UserError, match=r"slerp's base_model is one of the two.*--base"):
        study_of(tmp_path, content)
    study, said = study_of(tmp_path, content, "--base", "mini/base")
    assert study.method == "slerp" and study.starts == ({"sums": 0.7, "products": 0.3},)
    assert "turns weights about the origin" in said
    content["parameters"] = {"t": [0, 0.5, 1]}
    with pytest.raises(
        UserError, match=r"t is \[0, 0.5, 1\], expected one number; for values by layers"
    ):
        study_of(tmp_path, content, "--base", "mini/base")


EVOLVE: dict[str, Any] = {
    "genome": {
        "models": ["mini/sums", "mini/products"],
        "merge_method": "dare_ties",
        "base_model": "mini/base",
        "layer_granularity": 2,
        "allow_negative_weights": True,
        "filters": ["mlp"],
    },
    "tasks": [{"name": "gsm8k", "weight": 2.0, "metric": "exact_match,strict-match"}, "mmlu"],
    "limit": 100,
}


def test_the_genome_and_the_tasks_of_mergekit_evolve_are_a_study(tmp_path: Path) -> None:
    layers = json.loads((MODELS / "base" / "config.json").read_text())["num_hidden_layers"]
    study, said = study_of(tmp_path, EVOLVE)
    assert (study.base, study.method) == ("mini/base", "dare_ties")
    assert dict(study.checkpoints) == {"sums": "mini/sums", "products": "mini/products"}
    assert study.suites == ("gsm8k", "mmlu") and dict(study.weights) == {"gsm8k": 2.0, "mmlu": 1.0}
    assert study.groups is not None and study.groups.blocks == layers // 2
    assert study.documents.search == 100 and study.space.coefficients == (-1.0, 2.4)
    assert "filters ['mlp'] is left out" in said and "gsm8k: mergekit-evolve" not in said
    assert "TASK=gsm8k,mmlu" in said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tasks": [{"name": "gsm8"}]}, "tasks: no suite 'gsm8'.*did you mean 'gsm8k'"),
        ({"tasks": []}, "tasks: expected a list"),
        ({"genome": EVOLVE["genome"] | {"normalise": True}}, "did you mean 'normalize'"),
        ({"genome": EVOLVE["genome"] | {"merge_method": "passthrough"}}, r"docs/limits\.md"),
        ({"genome": ["mini/sums"]}, "genome: expected keys and values"),
        ({"limits": 3}, "did you mean 'limit'"),
    ],
)
def test_what_of_mergekit_evolve_is_no_study_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        study_of(tmp_path, EVOLVE | changed)


@pytest.mark.parametrize(
    "text", ["a: [1, 2", "a: 1\n\tb: 2", "- 1", "", "a: 1\na: 2", "{merge_method: ties}"]
)
def test_a_slip_of_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError) as refused:
        study_of(tmp_path, text)
    said = str(refused.value)
    assert said.startswith(str(tmp_path / "theirs.yml")) and "\n" not in said
    assert "unicode string" not in said


def test_mergekits_golden_configurations_begin_studies_with_the_same_merge(tmp_path: Path) -> None:
    """What mergekit made of them is compared with what ours make in tests/search/merging/methods/test_mergekit.py."""
    configurations: dict[str, Any] = runpy.run_path(
        str(ROOT / "benchmarks" / "mergekit_golden.py")
    )["configurations"]()
    read = 0
    for title, plan in configurations.items():
        if title.startswith("groups-"):
            continue
        ours, theirs = plan["ours"], plan["mergekit"]
        models = [{"model": f"x/{n}", "parameters": p} for n, p in plan["models"].items()]
        base = "x/math" if theirs["merge_method"] == "slerp" else "x/base"
        path = tmp_path / "golden.yml"
        content = {**theirs, "base_model": base, "models": models}
        path.write_text(yaml.safe_dump(content))
        found = read_mergekit(path, "x/base")
        expected = ours["coefficients"] | ours["parameters"]
        if ours["method"] != "model_stock":
            assert dict(found.point) == pytest.approx(expected, abs=1e-6), title
        assert found.method == ("exme" if ours["method"] in PLAIN else ours["method"])
        read += 1
    assert read >= 25


def test_a_start_of_something_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'sum' is neither a checkpoint.*did you mean 'sums'"):
        study_file(suites=["gsm8k"], starts=[{"sum": 1.0}])


@pytest.mark.parametrize(
    ("method", "start", "message"),
    [
        (
            "linear",
            {"sums": 0.1, "products": 1.0},
            "as weights they give sums 0.09091, products 0.9091",
        ),
        (
            "linear",
            {"sums": 2.0},
            "found sums 2, products 0; as weights they give sums 1, products 0",
        ),
        ("linear", {"sums": -0.5, "products": 1.5}, "0 or more and add up to 1, found sums -0.5"),
        ("ties", {"sums": 0.5, "density": 0.01}, "density is 0.01, outside of 0.05 to 1"),
        ("exme", {"sums": 2.7}, r"sums is 2.7, outside of 0 to 2.4, .* change space.coefficients"),
    ],
)
def test_a_start_that_would_not_be_tried_as_it_is_is_refused(
    method: str, start: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        study_file(suites=["gsm8k"], method=method, starts=[start])


def test_a_checkpoint_with_the_name_of_a_parameter_is_refused() -> None:
    names = {"density": "mini/sums", "products": "mini/products"}
    with pytest.raises(ValueError, match="name 'density' is that of a parameter of ties, too"):
        study_file(suites=["gsm8k"], method="ties", checkpoints=names)


def test_what_init_cannot_write_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    content = {"merge_method": "ties", "parameters": {"density": 0.01}}
    source = ["--from-mergekit", str(configuration(tmp_path, **content))]
    result = CliRunner().invoke(app, ["init", str(tmp_path / "mine.yaml"), *source])
    assert str(result.exception).startswith(f"{tmp_path / 'mine.yaml'}: starts: density is 0.01")


@pytest.mark.parametrize(
    ("method", "start"),
    [
        ("linear", {"sums": 0.25, "products": 0.75}),
        ("linear", {"products": 1.0}),
        ("exme", {"sums": 7.0, "products": -2.0}),
        ("ties", {"sums": 0.5, "products": 0.9, "density": 0.05}),
        ("slerp", {"sums": 0.4, "products": 0.9}),
        (["ties", "dare_ties"], {"sums": 0.4, "products": 0.9, "density": 0.3}),
    ],
)
def test_a_start_is_tried_as_the_study_says_it(method: Any, start: dict[str, float]) -> None:
    plan = Plan(
        study_file(
            suites=["gsm8k"], method=method, starts=[start], space={"coefficients": [-5.0, 10.0]}
        )
    )
    (point,) = [point for point in plan.due_points([]) if point.name == "start 1"]
    made = plan.proposals.candidate(plan.of_point(point), dtype="float32", sources={})
    given = {"sums": 0.0, "products": 0.0} | start
    own = {"density": given.pop("density")} if "density" in given else {}
    assert made.coefficients == pytest.approx(given)
    assert dict(made.parameters) == own


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_hold_every_trial_and_every_score(tmp_path: Path, suffix: str) -> None:
    study: StudyFile = study_file(suites=["gsm8k"], starts=[{"sums": 0.6, "products": 0.9}])
    with open_search(
        study, name="test", runs=tmp_path, worker=lambda d: Landscape(d, PEAK)
    ) as search:
        outcome = search.run()
    assert "start 1" in {trial.origin for trial in outcome.trials}
    files = {"trials": trials_table(outcome.trials), "documents": documents_table(outcome)}
    read = {}
    for name, table in files.items():
        write_table(table, tmp_path / f"{name}{suffix}")
        reader = pd.read_csv if suffix == ".csv" else pd.read_parquet
        read[name] = reader(tmp_path / f"{name}{suffix}")
    trials, documents = read["trials"], read["documents"]
    assert list(trials["trial"]) == [t.number for t in outcome.trials]
    assert trials.loc[trials["origin"] == "start 1", "c.products"].item() == 0.9
    known = standing_by_trial(standings(outcome.trials), outcome.trials)
    for number, row in trials.set_index("trial").iterrows():
        found = known[number].interval
        shown = (found.estimate, found.low, found.high)
        assert (row["score"], row["low"], row["high"]) == pytest.approx(shown)
    counts = documents[documents["split"] == "search"].groupby("model")["score"].count()
    assert all(
        count == counts[f"trial {known[number].trial.number}"]
        for number, count in zip(trials["trial"], trials["documents"], strict=True)
    )
    assert (trials["state"] == "rejected").any()
    report = documents[documents["split"] == "report"].groupby("model")["score"].count()
    assert dict(report) == dict.fromkeys(("base", "merged", "products", "sums"), 60)
    with pytest.raises(UserError, match=r"ends in \.parquet or \.csv"):
        write_table(files["trials"], tmp_path / "trials.txt")
