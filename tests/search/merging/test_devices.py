"""A live model over several devices: accelerate moves it, candidates are written where its tensors are.

Without a GPU accelerate still takes parameters off the modules and copies them in for each forward
pass (`cpu_offload`), which is what it does with the layers that no GPU has room for.
"""

from __future__ import annotations

from pathlib import Path

import accelerate
import pytest
import torch

from exme.search.merging import resident
from exme.search.merging.candidate import Candidate
from exme.search.merging.devices import spread
from exme.search.merging.resident import ResidentModel, load_model, pick_device
from exme.tasks.errors import UserError
from tests.helpers.models.small_models import make_family, open_resident, open_sources

PROMPT = torch.tensor([[1, 5, 9, 7]])
POINTS = ((0.7, 0.6), (1.3, 0.0), (0.0, 0.0))


def opened(family: dict[str, Path], **options: object) -> ResidentModel:
    return ResidentModel(
        open_sources(family),
        dtype=torch.bfloat16,
        compute_dtype=torch.float32,
        device=pick_device("spread"),
        over_all=True,
        **options,  # type: ignore[arg-type]
    )


def logits(model: ResidentModel, math: float, code: float) -> torch.Tensor:
    prints = model.sources.fingerprints
    model.materialise(Candidate({"math": math, "code": code}, "exme", "bfloat16", prints))
    with torch.no_grad():
        found: torch.Tensor = model.model(PROMPT.to(model.device)).logits.cpu()
    return found


@pytest.mark.parametrize("kind", ["llama", "qwen2-tied", "gpt-neox", "mixtral"])
def test_layers_that_are_copied_in_for_their_computation_are_the_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def offload(model: torch.nn.Module) -> None:
        accelerate.cpu_offload(model, execution_device=torch.device("cpu"))

    family = make_family(tmp_path, kind)
    monkeypatch.setattr(resident, "spread", offload)
    away, here = opened(family), open_resident(family)
    assert all(parameter.device.type == "meta" for parameter in away.model.parameters())
    for point in POINTS:
        assert torch.equal(logits(away, *point), logits(here, *point))
    states = away.state_dict(), here.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_what_fits_on_one_device_is_left_whole(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    assert torch.equal(logits(opened(family), 0.7, 0.6), logits(open_resident(family), 0.7, 0.6))


def test_a_model_that_fits_nowhere_is_refused_by_its_first_part(tmp_path: Path) -> None:
    model = load_model(make_family(tmp_path)["base"], torch.float32, False)
    with pytest.raises(UserError, match=r"'spread': parts of the live model \(model\.norm\)"):
        spread(model, {"cpu": 17000})


def test_sources_are_not_kept_beside_a_model_that_is_nowhere_in_particular(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    with pytest.raises(UserError, match="residence: device: a model that is spread"):
        opened(family, residence="device")
    assert opened(family).residence == "host"
    assert opened(family, residence="mapped").residence == "mapped"


@pytest.mark.gpu
def test_a_model_over_a_gpu_and_memory_answers_as_one_that_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = make_family(tmp_path)
    most: dict[int | str, int | str] = {0: 9000, "cpu": "1GB"}
    monkeypatch.setattr(resident, "spread", lambda model: spread(model, most))
    away, whole = opened(family), open_resident(family, device="cuda")
    assert {p.device.type for p in away.model.parameters()} == {"meta", "cuda"}
    for point in POINTS:
        torch.testing.assert_close(logits(away, *point), logits(whole, *point))
