"""A recipe makes its candidate again: without a study, shard by shard, the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.model_folder import export_model
from exme.search.merging.folders.recipe import materialise, read_recipe
from exme.search.merging.folders.stream import digests_on_disk
from exme.search.merging.resident import weights_digest
from exme.search.merging.sources.weight_files import split
from exme.tasks.errors import UserError
from tests.helpers.models.small_models import (
    counted_config,
    edit_weights,
    load_weights,
    make_family,
    open_resident,
)

CASES: dict[str, dict[str, Any]] = {
    "exme": {"method": "exme"},
    "ties": {"method": "ties", "parameters": {"density": 0.4}},
    "dare_ties": {"method": "dare_ties", "parameters": {"density": 0.4}, "seed": 7},
    "della": {"method": "della", "parameters": {"density": 0.4, "epsilon": 0.1}, "seed": 7},
    "groups": {
        "method": "exme",
        "groups": {"blocks": 2},
        "grouped": {"layer 0": {"math": 1.3, "code": 0.5}, "layer 1": {"math": 0.2, "code": 0.9}},
    },
}
POINT = {"math": 1.3, "code": 0.5}


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    made = make_family(tmp_path / "models")
    monkeypatch.chdir(
        tmp_path / "models"
    )  # (a recipe of what was made only names its models' folders)
    return made


def by_hand(family: dict[str, Path], path: Path, **candidate: Any) -> Path:
    """A recipe without fingerprints or digests."""
    given = {"coefficients": POINT, "dtype": "bfloat16", **candidate}
    content = {
        "candidate": given,
        "sources": {name: {"model": str(folder)} for name, folder in family.items()},
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("case", CASES)
def test_an_export_is_made_again_bit_for_bit_from_its_recipe(
    family: dict[str, Path], tmp_path: Path, case: str
) -> None:
    resident = open_resident(family)
    candidate = Candidate(
        coefficients=POINT, dtype="bfloat16", sources=resident.sources.fingerprints, **CASES[case]
    )
    names = {name: str(folder) for name, folder in family.items()}
    first = export_model(resident.sources, candidate, tmp_path / "first", card="", names=names)
    again = materialise(tmp_path / "first", tmp_path / "again", max_shard_bytes=3000)
    assert (again.weights_digest, again.digest) == (first.weights_digest, first.digest)
    assert len(list((tmp_path / "again").glob("model-*.safetensors"))) > 3
    assert load_weights(tmp_path / "again").keys() == load_weights(tmp_path / "first").keys()
    third = materialise(tmp_path / "again", tmp_path / "third")
    assert third.weights_digest == first.weights_digest


def test_what_is_made_loads_as_the_model_that_a_search_would_score(
    family: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = by_hand(family, tmp_path / "r.yaml")
    result = materialise(path, tmp_path / "out")
    resident = open_resident(family)
    made = read_recipe(tmp_path / "out").candidate
    resident.materialise(made)
    assert result.weights_digest == weights_digest(resident.state_dict())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(tmp_path / "out").encode("w1")
    assert made.sources == resident.sources.fingerprints


def test_integer_tensors_and_a_wider_dtype_are_written_too(tmp_path: Path) -> None:
    family = make_family(tmp_path / "models", config=counted_config())
    path = by_hand(family, tmp_path / "r.yaml", dtype="float32")
    materialise(path, tmp_path / "out")
    found = load_weights(tmp_path / "out")
    assert torch.equal(found["steps"], torch.tensor([7, 2**40]))
    assert found["model.norm.weight"].dtype == torch.float32


def test_another_model_under_the_same_name_is_refused(
    family: dict[str, Path], tmp_path: Path
) -> None:
    materialise(by_hand(family, tmp_path / "r.yaml"), tmp_path / "out")
    edit_weights(family["code"], model__norm__weight=torch.ones(16, dtype=torch.bfloat16))
    with pytest.raises(UserError, match="'code' has other weights than the recipe's"):
        materialise(tmp_path / "out", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_other_bits_than_the_recipes_are_refused_and_nothing_is_left(
    family: dict[str, Path], tmp_path: Path
) -> None:
    materialise(by_hand(family, tmp_path / "r.yaml"), tmp_path / "out")
    file = tmp_path / "out" / "exme_recipe.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"weights_digest": "00" * 32}))
    with pytest.raises(UserError, match="made again, the weights have SHA-256"):
        materialise(file, tmp_path / "again")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models", "out", "r.yaml"]


def test_an_overflow_is_one_line_and_leaves_nothing(
    family: dict[str, Path], tmp_path: Path
) -> None:
    edit_weights(family["math"], model__norm__weight=torch.full((16,), 3e38, dtype=torch.bfloat16))
    path = by_hand(family, tmp_path / "r.yaml", coefficients={"math": 25.0, "code": 0.0})
    with pytest.raises(UserError, match=r"'model\.norm\.weight' of the candidate is not finite"):
        materialise(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


REFUSED = {
    "no candidate": ({"candidate": None}, "not a recipe"),
    "an unknown method": ({"method": "teis"}, "no method 'teis' .*did you mean 'ties'"),
    "a missing parameter": ({"method": "ties"}, "has parameters density, the recipe gives none"),
    "an unknown checkpoint": ({"coefficients": {"mth": 1.0}}, "'mth' is not in sources .*'math'"),
    "an unknown dtype": ({"dtype": "int8"}, "dtype 'int8', expected float32"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_recipe_is_refused_in_one_line(
    family: dict[str, Path], tmp_path: Path, case: str
) -> None:
    change, said = REFUSED[case]
    path = by_hand(family, tmp_path / "r.yaml", **change)  # type: ignore[arg-type]
    if "candidate" in change:  # type: ignore[operator]
        path.write_text("just: text\n")
    with pytest.raises(UserError, match=said) as refusal:
        materialise(path, tmp_path / "out")
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recipe"):
        read_recipe(tmp_path / "nothing.json")


def test_the_command_line_makes_a_recipe(family: dict[str, Path], tmp_path: Path) -> None:
    path = by_hand(family, tmp_path / "r.yaml")
    result = CliRunner().invoke(app, ["materialise", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Exported candidate ")
    with pytest.raises(UserError, match="holds an export already"):
        materialise(path, tmp_path / "out")
    materialise(path, tmp_path / "out", force=True)


def test_shards_are_filled_in_order_and_a_large_tensor_has_one_to_itself() -> None:
    def of(**elements: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {name: ("bfloat16", (count, 2)) for name, count in elements.items()}

    assert split(of(a=1, b=1, c=5, d=1, e=1), 8) == {
        "model-00001-of-00003.safetensors": ["c"],
        "model-00002-of-00003.safetensors": ["a", "b"],
        "model-00003-of-00003.safetensors": ["d", "e"],
    }
    assert split(of(a=1), 8) == {"model.safetensors": ["a"]}


def test_the_digest_of_a_folder_is_that_of_its_tensors(family: dict[str, Path]) -> None:
    assert digests_on_disk(family["math"])[0] == weights_digest(load_weights(family["math"]))
