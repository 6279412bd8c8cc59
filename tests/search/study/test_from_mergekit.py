"""A mergekit configuration as the start of a study."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.mergekit import mergekit_config
from exme.search.merging.methods import PLAIN
from exme.search.proposing.plan import Plan
from exme.search.study.from_mergekit import read_mergekit
from exme.search.study.study_file import load_study_file
from exme.tasks.errors import UserError
from exme.tasks.mini import MODELS
from tests.helpers.mergekit_files import study_of
from tests.helpers.places import ROOT

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


def test_what_init_cannot_write_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    content = {"merge_method": "ties", "parameters": {"density": 0.01}}
    source = ["--from-mergekit", str(configuration(tmp_path, **content))]
    result = CliRunner().invoke(app, ["init", str(tmp_path / "mine.yaml"), *source])
    assert str(result.exception).startswith(f"{tmp_path / 'mine.yaml'}: starts: density is 0.01")
