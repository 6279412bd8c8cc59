"""Where candidates stand in weight space, as near as a search needs it.

A candidate is base + sum_i c_i delta_i. Task vectors count as equally long, for at 1 each is a whole fine-tune whatever its
norm; their cosines decide how far apart two candidates are, and a group of G counts for one G-th:

    |z - z'|^2 = 1/G sum_g (c_g - c'_g)' R (c_g - c'_g)

R holds the cosines, which a study measures before its first trial; before that, and with directions, `COSINE` off its diagonal. A method's own parameters are
further coordinates as they are: all of them are shares, and whoever has none keeps all of a delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exme.search.directions import DIRECTIONS
from exme.search.merging import Candidate
from exme.search.racing import Floats

from .shift import Gram

# Of two fine-tunes of one base, where it was not measured: 0.08 for the mini models.
COSINE = 0.1
# The usual place of a good merge: so much of each of two checkpoints, of more proportionally less, and less where they go the
# same way. Task vectors in full and extrapolated by a fifth; (1.3, 1.3) was better on real outcomes of the mini models, (1, 1)
# where going on does harm.
USUAL = 1.2
# Cosines are taken for so much less, for those of equal task vectors have no root.
SHRUNK = 0.99


@dataclass(frozen=True)
class WeightSpace:
    """Places of a study's candidates.

    Attributes:
        sources: names of the checkpoints and directions that have coefficients.
        groups: labels of the groups of tensors; empty without groups.
        parameters: names of the methods' own.
        root: a root of R, shape (sources, sources).
    """

    sources: tuple[str, ...]
    groups: tuple[str, ...]
    parameters: tuple[str, ...]
    root: Floats

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from others."""
        return self.sources, self.groups, self.parameters, self.root.tobytes()

    def places(self, candidates: Sequence[Candidate]) -> Floats:
        """Places of candidates, shape (k, d)."""
        labels = self.groups or ("",)
        table = np.array(
            [
                [
                    [c.grouped.get(g, c.coefficients).get(n, 0.0) for n in self.sources]
                    for g in labels
                ]
                for c in candidates
            ],
            dtype=float,
        ).reshape(len(candidates), len(labels), len(self.sources))
        inner = (table @ self.root / np.sqrt(len(labels))).reshape(len(candidates), -1)
        own = [[c.parameters.get(name, 1.0) for name in self.parameters] for c in candidates]
        return np.concatenate([inner, np.array(own).reshape(len(candidates), -1)], 1)

    @property
    def usual(self) -> dict[str, float]:
        """The usual coefficients of a good merge: of task vectors that go the same way in sum no more than of one and a third."""
        inputs = [name for name in self.sources if name not in DIRECTIONS]
        k, which = len(inputs), [name in inputs for name in self.sources]
        cosines = (self.root @ self.root.T)[np.ix_(which, which)]
        mean = float(cosines.sum() - k) / max(1, k * (k - 1)) / SHRUNK
        each = round(USUAL * min(1.0, 2 / k) * (1 + COSINE) / (1 + max(COSINE, mean)), 4)
        return {name: each if name in inputs else 0.0 for name in self.sources}

    @property
    def usual_place(self) -> Floats:
        """Where these are, shape (d,)."""
        one = np.array([self.usual[name] for name in self.sources]) @ self.root
        several = np.tile(one / np.sqrt(len(self.groups) or 1), len(self.groups) or 1)
        return np.append(several, np.ones(len(self.parameters)))


def space_of(candidates: Sequence[Candidate], gram: Gram | None) -> WeightSpace:
    """The space of some candidates, one at least: distances in it are those in any that holds them.

    Args:
        candidates: of one study.
        gram: of its task vectors; None where they were not measured.
    """
    sources = tuple(dict.fromkeys(name for c in candidates for name in c.coefficients))
    groups = tuple(dict.fromkeys(label for c in candidates for label in c.grouped))
    names = dict.fromkeys(name for c in candidates for name in c.parameters)
    return WeightSpace(sources, groups, tuple(names), root_of(sources, gram))


def root_of(sources: Sequence[str], gram: Gram | None) -> Floats:
    """A root of the matrix of cosines; of a task vector of no length the other cosines are 0."""
    k = len(sources)
    if gram is None:
        cosines = np.full((k, k), COSINE) + (1 - COSINE) * np.eye(k)
    else:
        places = [gram.sources.index(name) for name in sources]
        total = np.sum(list(gram.groups.values()), 0)[np.ix_(places, places)]
        lengths = np.sqrt(np.maximum(np.diag(total), 1e-300))
        cosines = total / np.outer(lengths, lengths)
        cosines[np.diag_indices(k)] = 1.0
    return np.asarray(np.linalg.cholesky(SHRUNK * cosines + (1 - SHRUNK) * np.eye(k)), dtype=float)
