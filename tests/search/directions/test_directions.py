"""What every direction keeps to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from exme.search.directions import DIRECTIONS, direction_of, vectors
from exme.search.merging.sources.adapter import open_checkpoint
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources
from exme.search.merging.sources.task_vector import made_by
from tests.helpers.models.directions import FLOAT32, bench, compute, family, make_adapter
from tests.helpers.models.small_models import make_family, make_model, open_sources

ALL = sorted(DIRECTIONS)


@pytest.mark.parametrize("kind", ["llama", "qwen2-tied", "gpt-neox"])
@pytest.mark.parametrize("name", ALL)
def test_a_direction_writes_every_tensor_once_or_gives_coefficients(
    kind: str, name: str, tmp_path: Path
) -> None:
    sources = family(tmp_path, kind)
    on = bench(sources, tmp_path / "scratch")
    written, found = compute(direction_of(name), on)
    if DIRECTIONS[name].gives == "vector":
        assert {n: tuple(d.shape) for n, d in written.items()} == dict(on.shapes)
        assert all(d.isfinite().all() for d in written.values())
        assert any(d.abs().max() > 0 for d in written.values())
        assert not found.coefficients
    else:
        assert not written
        assert set(found.coefficients) == {"math", "code"}
    assert all(math.isfinite(loss) for loss in found.losses)
    if found.losses and name != "prodistill":  # (which has a history for each layer)
        assert found.losses[-1] <= found.losses[0] or min(found.losses) < found.losses[0]


@pytest.mark.parametrize("name", ALL)
def test_a_direction_comes_out_the_same_twice_and_reads_its_sources_only(
    tmp_path: Path, name: str
) -> None:
    sources = family(tmp_path)
    before = sources.fingerprints
    first, found = compute(direction_of(name), bench(sources, tmp_path / "1"))
    second, again = compute(direction_of(name), bench(sources, tmp_path / "2"))
    assert found == again
    assert all(torch.equal(first[n], second[n]) for n in first)
    fresh = open_sources(
        {"base": sources.base.folder, **{n: c.folder for n, c in sources.checkpoints.items()}}
    )
    assert fresh.fingerprints == before


@pytest.mark.parametrize("name", vectors(ALL))
def test_checkpoints_that_are_the_base_give_no_direction(tmp_path: Path, name: str) -> None:
    made = make_family(tmp_path / "m", dtypes=FLOAT32)
    sources = open_sources({"base": made["base"], "one": made["base"], "two": made["base"]})
    written, _ = compute(direction_of(name), bench(sources, tmp_path / "s"))
    assert all(d.abs().max() < 1e-12 for d in written.values())


@pytest.mark.parametrize("name", ALL)
def test_a_direction_takes_three_checkpoints(tmp_path: Path, name: str) -> None:
    made = make_family(tmp_path / "m", dtypes=FLOAT32)
    three = {"base": made["base"], "a": made["math"], "b": made["code"], "c": made["math"]}
    written, found = compute(direction_of(name), bench(open_sources(three), tmp_path / "s"))
    assert written or set(found.coefficients) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("regmean", 2),
        ("gradient_matching", 3),
        ("nll", 6),
        ("np_merge", 6),
        ("prodistill", 10),
        ("doge", 0),
    ],
)
def test_passes_over_documents_are_counted(tmp_path: Path, name: str, passes: int) -> None:
    """Of two checkpoints and five steps."""
    on = bench(family(tmp_path), tmp_path / "s")
    compute(direction_of(name), on)
    assert on.passes == passes * len(on.examples)


@pytest.mark.parametrize("name", ALL)
def test_adapters_are_checkpoints_like_others(tmp_path: Path, name: str) -> None:
    base = make_model(tmp_path / "base", dtype=torch.float32)
    found = []
    adapters = [make_adapter(base, tmp_path / f"a{seed}", seed) for seed in (1, 2)]
    for kind in ("", "merged"):
        origin = Checkpoint("base", base)
        opened = {f.name: open_checkpoint(f.name, f / kind, origin) for f in adapters}
        on = bench(Sources(origin, opened), tmp_path / f"scratch{kind}", compute=torch.float32)
        found.append(compute(direction_of(name), on))
    (low, here), (whole, there) = found
    assert dict(here.coefficients) == pytest.approx(dict(there.coefficients), abs=1e-3)
    for tensor, delta in low.items():
        scale = float(whole[tensor].abs().max())
        # What is learnt elementwise may turn where a gradient is about zero.
        far = (delta - whole[tensor]).abs() > 1e-3 * scale
        assert float(far.float().mean()) < 0.02, tensor


@pytest.mark.gpu
@pytest.mark.parametrize("name", ALL)
def test_a_direction_on_a_gpu_is_the_cpus(tmp_path: Path, name: str) -> None:
    sources = family(tmp_path)
    found = [
        compute(direction_of(name), bench(sources, tmp_path / where, device=torch.device(where)))
        for where in ("cpu", "cuda")
    ]
    (here, expected), (there, got) = found
    assert dict(got.coefficients) == pytest.approx(dict(expected.coefficients), abs=1e-6)
    for tensor, delta in here.items():
        torch.testing.assert_close(there[tensor].cpu(), delta, rtol=1e-5, atol=1e-7)


def test_the_fingerprint_of_a_task_vector_says_what_made_it() -> None:
    assert made_by("0a" * 32 + ":doge") == "doge"
    assert made_by("0a" * 32) == ""
