"""Task vectors on disk, and as sources of candidates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from exme.search.merging.candidate import Candidate
from exme.search.merging.resident import ResidentModel
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources
from exme.search.merging.sources.task_vector import RECORD, VECTOR, TaskVector, VectorFile
from exme.tasks.errors import ShapeMismatch, UserError
from tests.helpers.models.small_models import load_weights, make_family, make_model


def make_vector(folder: Path, base: Checkpoint, *, wide: bool, seed: int = 5) -> TaskVector:
    """A random task vector with the record that it needs."""
    folder.mkdir(parents=True)
    shapes = {n: s.shape for n, s in base.tensors.items()}
    file = VectorFile(folder / VECTOR, shapes, wide=wide)
    generator = torch.Generator().manual_seed(seed)
    for name in sorted(shapes, reverse=True):  # in whatever order
        file.write(name, 0.01 * torch.randn(shapes[name], generator=generator))
    file.close()
    record = {"direction": "doge", "made_of": {"base": base.fingerprint}}
    (folder / RECORD).write_text(json.dumps(record))
    return TaskVector("doge", folder, base)


def test_a_task_vector_reads_back_as_it_was_written(tmp_path: Path) -> None:
    base = Checkpoint("base", make_model(tmp_path / "base", dtype=torch.float32))
    vector = make_vector(tmp_path / "doge", base, wide=True)
    generator = torch.Generator().manual_seed(5)
    for name in sorted(base.tensors, reverse=True):
        expected = 0.01 * torch.randn(base.tensors[name].shape, generator=generator)
        assert torch.equal(vector.delta(name), expected)
        assert torch.equal(vector.tensor(name), base.tensor(name) + expected)  # type: ignore[arg-type]
    vector.load()
    assert vector.fingerprint.endswith(":doge") and len(vector.fingerprint) == 69
    assert vector.bytes == base.bytes


def test_a_candidate_with_a_task_vector_is_the_base_plus_its_share(tmp_path: Path) -> None:
    made = make_family(tmp_path / "m")
    base, math = Checkpoint("base", made["base"]), Checkpoint("math", made["math"])
    vector = make_vector(tmp_path / "doge", base, wide=False)
    sources = Sources(base, {"math": math, "doge": vector})
    coefficients = {"math": 0.5, "doge": 1.5}
    for residence in ("device", "mapped"):
        resident = ResidentModel(
            sources,
            dtype=torch.bfloat16,
            compute_dtype=torch.float32,
            device=torch.device("cpu"),
            residence=residence,
        )
        resident.materialise(Candidate(coefficients, "exme", "bfloat16", sources.fingerprints))
        found = resident.state_dict()
        start, other = load_weights(made["base"]), load_weights(made["math"])
        for name, values in start.items():
            expected = values.double() + 0.5 * (other[name].double() - values.double())
            expected += 1.5 * vector.delta(name).double()
            torch.testing.assert_close(found[name].double(), expected, rtol=2**-8, atol=1e-6)


def test_a_file_without_all_tensors_is_never_finished(tmp_path: Path) -> None:
    file = VectorFile(tmp_path / VECTOR, {"a": (2,), "b": (3, 1)}, wide=True)
    file.write("a", torch.ones(2))
    with pytest.raises(ValueError, match="tensor 'b' is missing"):
        file.close()
    file = VectorFile(tmp_path / VECTOR, {"a": (2,)}, wide=True)
    with pytest.raises(ShapeMismatch, match=r"shape \[3\], the base's is \[2\]"):
        file.write("a", torch.ones(3))
    with pytest.raises(FloatingPointError, match="'a' of the direction is not finite"):
        file.write("a", torch.tensor([1.0, float("nan")]))


def test_a_task_vector_of_another_base_is_refused(tmp_path: Path) -> None:
    base = Checkpoint("base", make_model(tmp_path / "base"))
    make_vector(tmp_path / "doge", base, wide=False)
    other = Checkpoint("base", make_model(tmp_path / "other", seed=9))
    with pytest.raises(UserError, match="was computed from another base"):
        TaskVector("doge", tmp_path / "doge", other)
    (tmp_path / "doge" / VECTOR).unlink()
    with pytest.raises(UserError, match=r"task_vector.safetensors is missing"):
        TaskVector("doge", tmp_path / "doge", base)
