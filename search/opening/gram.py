"""The Gram matrix of a study's task vectors, once per study: by a part of every tensor, and by all of it where a shift is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from exme.search.merging import Groups, Spec
from exme.search.merging.sources import PART, Fetched, Sources, refuse_unbounded
from exme.search.storage import Storage
from exme.search.study import StudyFile
from exme.search.trials import GRAM, SAMPLED, Gram, settle_shift

from .kinship import float_tensors, kinship_of

MEASURED_ELSEWHERE = "Another process is measuring the task vectors; waiting for it."


def gram(sources: Sources, names: Sequence[str], spec: Spec) -> Gram:
    """Inner products of the task vectors over each group of tensors, accumulated in float64.

    Deltas are those of the merge: checkpoint minus base in float32. Memory is that of a few MB of every source.

    Args:
        names: of the checkpoints, in the order of rows and columns.
        spec: the study's groups; empty has one of an empty label.

    Raises:
        UserError: a source holds NaN or infinity.
    """
    tensors = float_tensors(sources)
    groups = Groups(spec, tensors) if spec else None
    labels = ("",) if groups is None else groups.labels
    found = {label: np.zeros((len(names), len(names))) for label in labels}
    for tensor in tensors:
        products = _products(sources.fetch(tensor, names), names)
        if not np.isfinite(products).all():
            _refuse(sources, tensor)
        found["" if groups is None else groups.of(tensor)] += products
    return Gram(tuple(names), found)


def measure(
    study: StudyFile,
    names: Sequence[str],
    sources: Sources,
    storage: Storage,
    say: Callable[[str], None],
) -> None:
    """Have the storage hold the Gram matrix, where the study asks for it; one worker computes it.

    Raises:
        UserError: a source holds NaN or infinity, or no parent has a task vector.
    """
    if study.shift is None or storage.record.agreed(GRAM) is not None:
        return
    with storage.hold(GRAM, lambda: say(MEASURED_ELSEWHERE)):
        if storage.record.agreed(GRAM) is None:
            spec = study.groups.spec if study.groups is not None else {}
            found = gram(sources, names, spec)
            settle_shift(study, found)  # refused before it is written
            storage.record.agree_on(GRAM, found.to_json())


def sample(sources: Sources, storage: Storage, say: Callable[[str], None]) -> None:
    """Have the storage hold how the checkpoints' task vectors lie, by a part of every tensor; one worker measures it.

    Lengths are in those of the base.
    """
    if storage.record.agreed(SAMPLED) is not None:
        return
    with storage.hold("kinship", lambda: say(MEASURED_ELSEWHERE)):
        if storage.record.agreed(SAMPLED) is None:
            found = kinship_of(sources)
            lengths = np.array(list(found.lengths.values()))
            inner = found.cosines * np.outer(lengths, lengths)
            storage.record.agree_on(SAMPLED, Gram(tuple(found.lengths), {"": inner}).to_json())


def _products(fetched: Fetched, names: Sequence[str]) -> np.ndarray:
    """Inner products of all deltas of one tensor, shape (n, n)."""
    total = torch.zeros(len(names), len(names), dtype=torch.float64)
    parts = zip(*(fetched.delta(name).parts(PART) for name in names), strict=True)
    for each in parts:
        deltas = torch.stack([elements for _, elements in each]).double()
        total += deltas @ deltas.T
    return np.asarray(total.numpy())


def _refuse(sources: Sources, tensor: str) -> None:
    """Name the source that holds NaN or infinity in a tensor."""
    for name, source in (("base", sources.base), *sources.checkpoints.items()):
        values = source.tensor(tensor)
        for part in (values,) if isinstance(values, torch.Tensor) else ():
            refuse_unbounded(name, tensor, part)
    raise FloatingPointError(f"tensor '{tensor}': the task vectors' inner products overflow")
