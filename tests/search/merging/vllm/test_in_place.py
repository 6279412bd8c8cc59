"""Merging in an engine's layout, shown on a model that fuses, shards and pads as engines do, without one.

What must be in a worker is what its own loading makes of the merged tensors: loading and merging commute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import torch

from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.stream import write_stream
from exme.search.merging.materialise import Merger
from exme.search.merging.sources.checkpoint import untied
from exme.search.merging.sources.residence import Mapped
from exme.search.merging.vllm.in_place import InPlace
from exme.search.merging.vllm.layout import Span, Unmappable, find_spans, live_parameters
from tests.helpers.models.small_models import load_weights, make_family, open_sources

PARTS = ("q_proj", "k_proj", "v_proj")


class Fused(torch.nn.Module):
    """One of two workers' part of a small Llama: rows of queries, keys and values in one parameter."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], rank: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.rank = rank
        self.places: dict[str, tuple[str, slice, int]] = {}
        fused: dict[str, int] = {}
        for name, tensor in tensors.items():
            whole = next((name.replace(p, "qkv_proj") for p in PARTS if p in name), name)
            axis = 1 if "down_proj" in name or "o_proj" in name else 0
            size = tensor.shape[axis] // 2 if tensor.dim() == 2 else tensor.shape[axis]
            start = fused.get(whole, 0)
            self.places[name] = whole, slice(start, start + size), axis if tensor.dim() == 2 else -1
            fused[whole] = start + size
        for whole, rows in fused.items():
            like = next(t for n, t in tensors.items() if self.places[n][0] == whole)
            axis = next(p[2] for p in self.places.values() if p[0] == whole)
            shape = list(like.shape)
            shape[max(axis, 0)] = rows + 3 * ("embed" in whole)  # a padded vocabulary
            values = torch.nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False)
            self.register_parameter(whole.replace(".", "__"), values)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in weights:
            whole, rows, axis = self.places[name]
            parameter = getattr(self, whole.replace(".", "__")).data
            if axis < 0:
                parameter.copy_(tensor)
                continue
            size = tensor.shape[axis] // 2
            shard = tensor.narrow(axis, self.rank * size, size)
            parameter.narrow(axis, rows.start, size).copy_(shard)
            if "embed" in whole:
                parameter[size:].fill_(0)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_family(tmp_path_factory.mktemp("family"))


def fused(family: dict[str, Path], rank: int, dtype: torch.dtype = torch.float32) -> Fused:
    tensors = load_weights(family["base"])
    model = Fused(tensors, rank, dtype)
    model.load_weights(tensors.items())
    return model


GROUPS = {"patterns": {"queries": ["*q_proj*"], "values": ["*v_proj*"]}}
CANDIDATES = {
    "plain": Candidate({"math": 0.7, "code": 0.6}, "exme", "bfloat16", {}),
    "groups": Candidate(
        {},
        "exme",
        "bfloat16",
        {},
        groups=GROUPS,
        grouped={
            "queries": {"math": 0.2, "code": 1.0},
            "values": {"math": 0.9, "code": 0.1},
            "rest": {"math": 0.5, "code": 0.4},
        },
    ),
    "ties": Candidate({"math": 0.7, "code": 0.6}, "ties", "bfloat16", {}, 0, {"density": 0.3}),
    "slerp": Candidate({"math": 0.7, "code": 0.6}, "slerp", "bfloat16", {}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("place", ["device", "mapped"])
@pytest.mark.parametrize("name", CANDIDATES)
def test_a_worker_holds_what_it_would_load_of_the_export(
    name: str, place: str, rank: int, dtype: torch.dtype, family: dict[str, Path], tmp_path: Path
) -> None:
    sources, candidate = open_sources(family), CANDIDATES[name]
    model = fused(family, rank, dtype)
    before = {n: p.clone() for n, p in model.named_parameters()}
    in_place = InPlace(model, model.load_weights, sources, place)
    assert all(p.equal(before[n]) for n, p in model.named_parameters())
    merger = Merger(Mapped(sources), torch.bfloat16, compiled=False)
    floats = [n for n, spec in untied(sources.base).items() if spec.is_float]
    merges = merger.instructions(candidate, floats)
    assert in_place.takes(merges)
    in_place.write(merger, merges)
    write_stream(tmp_path, sources, candidate, max_shard_bytes=10**9)
    right = fused(family, rank, dtype)
    right.load_weights(load_weights(tmp_path).items())
    for (own, values), (_, expected) in zip(
        model.named_parameters(), right.named_parameters(), strict=True
    ):
        assert values.equal(expected), own


def test_draws_by_an_elements_place_are_not_made_in_place(family: dict[str, Path]) -> None:
    sources = open_sources(family)
    merger = Merger(Mapped(sources), torch.bfloat16, compiled=False)
    dare = Candidate({"math": 1.0}, "dare_linear", "bfloat16", {}, 0, {"density": 0.5})
    assert not InPlace.takes(merger.instructions(dare, ["model.norm.weight"]))


def test_spans_name_the_tensors_in_a_fused_parameter(family: dict[str, Path]) -> None:
    model = fused(family, 1)
    tensors = load_weights(family["base"])
    spans = find_spans(
        live_parameters(model), {n: t.shape for n, t in tensors.items()}, model.load_weights
    )
    name = "model.layers.0.self_attn.{}.weight"
    queries, keys = (tensors[name.format(p)].numel() // 2 for p in ("q_proj", "k_proj"))
    assert spans[name.format("qkv_proj").replace(".", "__")] == [
        Span(name.format("k_proj"), 0, keys),
        Span(name.format("q_proj"), keys, keys + queries),
        Span(name.format("v_proj"), queries + keys, queries + 2 * keys),
    ]
    [embedding] = spans["model__embed_tokens__weight"]
    assert embedding.stop == tensors["model.embed_tokens.weight"].numel() // 2  # not the padding


@pytest.mark.parametrize("spoil", ["doubled", "dropped"])
def test_a_model_that_computes_as_it_loads_is_told_from_one_that_copies(
    spoil: str, family: dict[str, Path]
) -> None:
    model = fused(family, 0)

    def load(weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in weights:
            if "norm" not in name:
                model.load_weights([(name, tensor)])
            elif spoil == "doubled":
                model.load_weights([(name, tensor * 1.5)])

    shapes = {n: t.shape for n, t in load_weights(family["base"]).items()}
    with pytest.raises(Unmappable, match=r"computed with as they are loaded|has no place"):
        find_spans(live_parameters(model), shapes, load)


def test_packed_parameters_and_wider_sources_are_not_written_in_place(
    family: dict[str, Path], tmp_path: Path
) -> None:
    model = fused(family, 0)
    model.empty = torch.nn.Parameter(torch.empty(0), requires_grad=False)
    with pytest.raises(Unmappable, match="'empty' is packed by its layer"):
        live_parameters(model)
    wide = make_family(tmp_path, dtypes=(torch.float32,) * 3)
    narrow = fused(wide, 0, torch.bfloat16)
    before = {n: p.clone() for n, p in narrow.named_parameters()}
    with pytest.raises(
        Unmappable, match=r"'base' is stored in F32, the engine computes in torch\.bf"
    ):
        InPlace(narrow, narrow.load_weights, open_sources(wide), "device")
    assert all(p.equal(before[n]) for n, p in narrow.named_parameters())
