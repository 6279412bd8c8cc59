"""Wherever the sources are, the candidates are the same, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from exme.search.merging.candidate import Candidate
from exme.search.merging.resident import ResidentModel, weights_digest
from exme.search.merging.sources import residence
from exme.search.merging.sources.residence import Held, Mapped, choose, settle
from exme.tasks.errors import UserError
from tests.helpers.models.small_models import edit_weights, make_family, open_sources

METHODS = {
    "exme": {},
    "ties": {"density": 0.4},
    "della": {"density": 0.4, "epsilon": 0.1},
    "model_stock": {"stock": 1.0},
}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


def resident(folder: dict[str, Path], place: str, device: torch.device) -> ResidentModel:
    return ResidentModel(
        open_sources(folder),
        dtype=torch.bfloat16,
        compute_dtype=torch.float32,
        device=device,
        residence=place,
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_residence_gives_the_same_candidate_bit_for_bit(
    tmp_path: Path, device: torch.device, method: str
) -> None:
    family = make_family(tmp_path, dtypes=(torch.bfloat16, torch.float32, torch.float16))
    digests = set()
    for place in ("device", "host", "mapped"):
        model = resident(family, place, device)
        assert model.residence == place
        prints = model.sources.fingerprints
        c, own = {"math": 0.7, "code": 0.6}, METHODS[method]
        for seed in (1, 2):  # what was found out for one candidate serves the next
            model.materialise(Candidate(c, method, "bfloat16", prints, seed, own))
        digests.add(weights_digest(model.state_dict()))
    assert len(digests) == 1


def test_tensors_that_are_streamed_are_those_that_are_fetched(
    tmp_path: Path, device: torch.device
) -> None:
    sources = open_sources(make_family(tmp_path))
    names = sorted(sources.base.tensors)
    for place in (
        Mapped(sources),
        Held.of(sources, torch.device("cpu"), pinned=device.type == "cuda"),
        Held.of(sources, device),
    ):
        streamed: dict[str, list[torch.Tensor]] = {}
        for name, part, found in place.stream([(name, device) for name in names]):
            assert found.base.device.type == device.type
            assert part.start == sum(t.numel() for t in streamed.get(name, []))
            streamed.setdefault(name, []).append(found.base)
        assert list(streamed) == names
        for name, parts in streamed.items():
            whole = torch.cat(parts).reshape(sources.base.tensors[name].shape)
            assert torch.equal(whole, place.fetch(name, device).base)
            assert torch.equal(whole.cpu(), sources.base.tensor(name))


@pytest.mark.parametrize("place", ["device", "mapped"])
def test_a_source_with_nan_is_refused_by_tensor_wherever_it_is(tmp_path: Path, place: str) -> None:
    family = make_family(tmp_path)
    edit_weights(family["code"], model__norm__weight=torch.full((16,), torch.nan))
    with pytest.raises(UserError, match=r"'code': tensor 'model\.norm\.weight' holds NaN"):
        settle(place, open_sources(family), torch.device("cpu"))


def test_a_place_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="residence 'moon'"):
        settle("moon", open_sources(make_family(tmp_path)), torch.device("cpu"))


def test_without_a_word_sources_are_in_memory_while_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Free:
        available = 100

    monkeypatch.setattr(residence.psutil, "virtual_memory", Free)  # type: ignore[attr-defined]
    cpu = torch.device("cpu")
    assert choose("auto", cpu, 30, 20) == "device"
    assert choose("auto", cpu, 70, 20) == "mapped"
    assert choose("device", cpu, 70, 20) == "device"


ALL = METHODS | {
    "task_arithmetic": {},
    "slerp": {},
    "dare_linear": {"density": 0.5},
    "dare_ties": {"density": 0.5},
    "breadcrumbs": {"density": 0.5, "gamma": 0.1},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", ALL)
def test_a_thousand_candidates_leave_no_drift(tmp_path: Path, method: str) -> None:
    model = resident(make_family(tmp_path), "mapped", torch.device("cpu"))
    prints, own = model.sources.fingerprints, ALL[method]
    first = Candidate({"math": 0.7, "code": 0.6}, method, "bfloat16", prints, 1, own)
    model.materialise(first)
    before = weights_digest(model.state_dict())
    for i in range(1000):
        c = {"math": (i * 37 % 100) / 50, "code": (i * 61 % 100) / 50}
        model.materialise(Candidate(c, method, "bfloat16", prints, i, own))
    assert weights_digest(model.state_dict()) != before
    model.materialise(first)
    assert weights_digest(model.state_dict()) == before
