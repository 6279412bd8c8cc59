"""What merging from the disk takes: measured on files whose largest tensor is 16 MB."""

from __future__ import annotations

import ctypes
import gc
import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.stream import write_stream
from exme.search.merging.materialise import Merger
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.residence import Mapped
from exme.search.merging.sources.sources import Sources

STATUS = Path("/proc/self/status")
SHAPES = {"a.weight": (2048, 4096), "b.weight": (2000, 4096), "c.weight": (3000, 1000)}
LARGEST = 2 * 2048 * 4096  # bytes
METHODS = {
    "exme": {},
    "ties": {"density": 0.4},
    "della": {"density": 0.4, "epsilon": 0.1},
    "dare_linear": {"density": 0.4},
    "model_stock": {"stock": 1.0},
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    if not STATUS.is_file() or not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("memory is limited as Linux and glibc do")
    folder = tmp_path_factory.mktemp("large")
    generator = torch.Generator().manual_seed(0)
    opened = {}
    for name in ("base", "math", "code"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
        tensors = {
            tensor: torch.randn(shape, generator=generator, dtype=torch.bfloat16)
            for tensor, shape in SHAPES.items()
        }
        save_file(tensors, folder / name / "model.safetensors")
        opened[name] = Checkpoint(name, folder / name)
    return Sources(opened.pop("base"), opened)


@contextmanager
def at_most(extra: int) -> Iterator[None]:
    """No more than so many bytes of private memory, beyond what there is, can be had meanwhile."""
    gc.collect()
    library = ctypes.CDLL(None)
    library.mallopt(-3, 2**20)  # M_MMAP_THRESHOLD: blocks of a megabyte go back when they are freed
    library.malloc_trim(0)
    found = re.search(r"VmData:\s+(\d+)", STATUS.read_text())
    assert found is not None
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(found[1]) + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.parametrize(("method", "compiled"), [*((m, True) for m in METHODS), ("exme", False)])
def test_mapped_sources_take_at_most_twice_the_largest_tensor_beside_the_live_model(
    sources: Sources, method: str, compiled: bool
) -> None:
    mapped = Mapped(sources)
    live = {name: torch.ones(shape, dtype=torch.bfloat16) for name, shape in SHAPES.items()}
    candidate = Candidate(
        {"math": 0.7, "code": 0.6}, method, "bfloat16", {}, parameters=METHODS[method]
    )
    places = [(name, torch.device("cpu")) for name in SHAPES]

    merger = Merger(mapped, torch.bfloat16, compiled=compiled)
    with at_most(2 * LARGEST):
        merges = merger.instructions(candidate, list(SHAPES))
        for name, part, found in mapped.stream(places):
            assert merger.write(name, part, merges[name], found, live[name].view(-1)[part])


@pytest.mark.usefixtures("sources")
def test_the_limit_is_one() -> None:
    with at_most(2 * LARGEST), pytest.raises(RuntimeError, match="memory"):
        torch.ones(3 * LARGEST, dtype=torch.uint8)


def test_a_candidate_is_written_in_the_memory_of_its_largest_tensor_not_of_its_files(
    sources: Sources, tmp_path: Path
) -> None:
    candidate = Candidate({"math": 0.7, "code": 0.6}, "exme", "bfloat16", {})
    with at_most(int(1.5 * LARGEST)):
        write_stream(tmp_path, sources, candidate, max_shard_bytes=10**9)
    assert (tmp_path / "model.safetensors").stat().st_size > 2.3 * LARGEST


def test_a_file_is_as_safetensors_itself_would_write_it(tmp_path: Path) -> None:
    from exme.search.merging.sources.weight_files import write_shards

    tensors = {
        "steps": torch.tensor([7, 2**40]),
        "mask": torch.tensor([True, False, True]),
        "zebra": torch.randn(3, 5, dtype=torch.float64),
        "half": torch.randn(7, dtype=torch.float16),
        "wide": torch.randn(2, 3),
        "number": torch.tensor(2.5, dtype=torch.bfloat16),
        "nothing": torch.empty(0, 4, dtype=torch.bfloat16),
    }
    specs = {n: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in tensors.items()}
    (file,) = write_shards(
        tmp_path, {"model.safetensors": list(tensors)}, specs, tensors.__getitem__
    )
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    found = load_file(file)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
    with safe_open(file, framework="pt") as content:
        assert content.metadata() == {"format": "pt"}
    ours, theirs = (path.read_bytes() for path in (file, tmp_path / "theirs"))
    assert len(ours) == len(theirs)
    size = int.from_bytes(ours[:8], "little")
    assert json.loads(ours[8 : 8 + size]) == json.loads(theirs[8 : 8 + size])
    assert ours[8 + size :] == theirs[8 + size :]


def test_a_tensor_that_is_not_what_was_announced_is_not_written(tmp_path: Path) -> None:
    from exme.search.merging.sources.weight_files import write_shards

    with pytest.raises(ValueError, match=r"tensor 'w' is torch\.float32"):
        write_shards(tmp_path, {"f": ["w"]}, {"w": ("bfloat16", (2,))}, lambda name: torch.zeros(2))
