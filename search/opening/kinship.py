"""Whether checkpoints are fine-tunes of the base, and no two are one: what their task vectors' lengths tell.

A part of every tensor is read; where it tells that nothing differs, all of it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components

from exme.search.merging.sources import (
    Adapter,
    Checkpoint,
    Fetched,
    LowRank,
    Sources,
    Values,
    other_base,
    row_length,
    untied,
    whole_rows,
)
from exme.search.racing import Floats
from exme.search.trials import joined

# Elements of each tensor that are read: task vectors' lengths are known to a percent or so.
_SAMPLE = 2**14
# A task vector as long as the base: a checkpoint of zeros, or of other weights altogether, which are longer still.
_AS_LONG = 0.999
# Task vectors with a higher cosine go nearly the same way.
NEARLY = 0.8


@dataclass(frozen=True)
class Kinship:
    """What a study's task vectors tell of its checkpoints.

    Attributes:
        lengths: of each checkpoint's task vector, over the base's, by name.
        equal: names of two checkpoints, or of the base and one, whose weights are the same.
        cosines: of the task vectors, in the order of `lengths`, shape (n, n).
        elsewhere: adapters that were trained on another model than the base, and what they call it.
    """

    lengths: dict[str, float]
    equal: tuple[tuple[str, str], ...]
    cosines: Floats
    elsewhere: tuple[tuple[str, str], ...] = ()

    @property
    def parallel(self) -> list[list[str]]:
        """Checkpoints that go nearly the same way: each with one before it in its list at least."""
        if not self.lengths:
            return []
        count, number = connected_components(self.cosines > NEARLY, directed=False)
        mine = list(zip(self.lengths, number.tolist(), strict=True))
        found = [[name for name, own in mine if own == one] for one in range(count)]
        same = set(self.equal)
        return [group for group in found if len(group) > 1 and tuple(group) not in same]

    def __iter__(self) -> Iterator[str]:
        """A sentence for each thing to know of them."""
        yield from self.odd()
        for group in self.parallel:
            yield self._told(group)

    def odd(self) -> Iterator[str]:
        """A sentence for each thing that is not as it should be."""
        for one, other in self.equal:
            if one == "base":
                yield f"Checkpoint '{other}' is the base, weight for weight: its coefficient changes nothing."
            else:
                yield (
                    f"Checkpoints '{one}' and '{other}' are the same, weight for weight: only the sum of their "
                    f"coefficients matters; leave one out."
                )
        for name, named in self.elsewhere:
            yield (
                f"Adapter '{name}' says that it was trained on {named}, which is another model than the base that it is "
                f"put on here; merge it into that one with peft's `merge_and_unload()`, save it, and give that folder."
            )
        for name, length in self.lengths.items():
            if length >= _AS_LONG:
                yield (
                    f"Checkpoint '{name}' is no fine-tune of this base: its task vector is {length:.2f} times as long "
                    f"as the base's weights (a fine-tune's is far shorter); check `base`."
                )

    def _told(self, group: Sequence[str]) -> str:
        """What it means that checkpoints go nearly the same way."""
        places = [list(self.lengths).index(name) for name in group]
        near = [
            c for i in places for j in places if i < j and (c := float(self.cosines[i, j])) > NEARLY
        ]
        cosines = f"cosine {near[0]:.2f}" if len(near) == 1 else f"cosines up to {max(near):.2f}"
        # of the difference of two unit vectors, over that of their sum
        ratio = math.sqrt((1 - max(near)) / (1 + max(near)))
        return (
            f"{joined(group)} go nearly the same way ({cosines}): alpha says how far along it; beta, which shares it out "
            f"between them, changes a model {ratio:.1f} times as much, so read them as one direction and a small difference."
        )


def kinship_of(sources: Sources) -> Kinship:
    """Measure the checkpoints of a study; directions, which are made of them, are left out."""
    every = sources.checkpoints or sources.others
    names = [n for n, c in every.items() if isinstance(c, Checkpoint | Adapter)]
    products = np.zeros((len(names), len(names)))
    squares, apart = dict.fromkeys(names, 0.0), dict.fromkeys(_pairs(names), 0.0)
    length = 0.0
    for tensor in float_tensors(sources):
        few = _some_rows(sources.fetch(tensor, names))
        length += float(few.base.double().square().sum())
        deltas = {name: few.delta(name).whole().double() for name in names}
        if names:
            flat = torch.stack([deltas[name].reshape(-1) for name in names])
            products += (flat @ flat.T).numpy()
        for name in names:
            squares[name] += float(deltas[name].square().sum())
        for a, b in apart:
            apart[a, b] += float((deltas[a] - deltas[b]).square().sum())
    nothing = [("base", name) for name in names if not squares[name]]
    alike = [pair for pair, square in apart.items() if not square and squares[pair[0]]]
    equal = tuple(pair for pair in (*nothing, *alike) if _is_equal(sources, *pair))
    ratio = {name: (square / length) ** 0.5 if length else 0.0 for name, square in squares.items()}
    for source in sources.others.values():
        source.reader.close()
    norms = np.sqrt(np.maximum(np.diag(products), 1e-300))
    named = [
        (name, other_base(source, sources.base))
        for name, source in every.items()
        if isinstance(source, Adapter)
    ]
    elsewhere = tuple((name, other) for name, other in named if other is not None)
    return Kinship(ratio, equal, np.clip(products / np.outer(norms, norms), -1.0, 1.0), elsewhere)


def _pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    yield from ((a, b) for i, a in enumerate(names) for b in names[i + 1 :])


def float_tensors(sources: Sources) -> list[str]:
    """Names of the tensors that are merged, tied ones once."""
    return [name for name, spec in untied(sources.base).items() if spec.is_float]


def _some_rows(found: Fetched) -> Fetched:
    """Rows from the middle of a tensor, of about so many elements as are read; shape (n, columns)."""
    columns = row_length(found.base)
    parts = list(whole_rows(found.base, _SAMPLE))
    few = found.part(parts[len(parts) // 2])

    def rows(values: Values) -> Values:
        return values if isinstance(values, LowRank) else values.reshape(-1, columns)

    return Fetched(few.base.reshape(-1, columns), {n: rows(v) for n, v in few.checkpoints.items()})


def _is_equal(sources: Sources, one: str, other: str) -> bool:
    """Whether two inputs have the same weights, all of them."""
    names = [name for name in (one, other) if name != "base"]
    for tensor in float_tensors(sources):
        found = sources.fetch(tensor, names)
        deltas = [found.delta(name).parts() for name in names]
        if len(deltas) == 1:
            if any(bool(elements.any()) for _, elements in deltas[0]):
                return False
        elif any(not torch.equal(a, b) for (_, a), (_, b) in zip(*deltas, strict=True)):
            return False
    return True
