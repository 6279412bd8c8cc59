"""Make landscapes by formula, most of them with nothing to gain: `python -m benchmarks.make_formula`.

The landscapes that real outcomes of the mini models make are of models that were made so that merging helps. Real
fine-tunes often are not: their skills have nothing to do with each other, the inputs stand on a flat top, going further
does harm. Each formula gives the share p(c) of documents that are solved at coefficients c. A document is solved where a
Gaussian process of its own is below the p(c)-quantile; neighbours share documents as they do on the landscapes of real
outcomes (`correlation`). Every formula is made twice, the second time with another seed and its top elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from .landscape import FOLDER, Floats, Landscape

DOCUMENTS = 400
_AXIS = np.linspace(-0.2, 2.6, 13)
_SCATTERED = 260  # points where there are more than two coefficients


@dataclass(frozen=True)
class Formula:
    """A share of solved documents as a function of coefficients.

    Attributes:
        share: of points, shape (p, k), and a shift of the top; shape (p,).
        checkpoints: k.
        cosine: of two task vectors, where it is not 0 (two checkpoints) or 0.3 (more).
    """

    share: Callable[[Floats, float], Floats]
    checkpoints: int = 2
    cosine: float | None = None

    @property
    def gram(self) -> Floats:
        """Inner products of the task vectors, shape (k, k)."""
        k = self.checkpoints
        cosine = (0.0 if k == 2 else 0.3) if self.cosine is None else self.cosine
        return (1 - cosine) * np.eye(k) + cosine


def _bowl(c: Floats, centre: Floats, width: float) -> Floats:
    found: Floats = np.exp(-0.5 * ((c - centre) ** 2).sum(1) / width**2)
    return found


def unrelated(c: Floats, moved: float) -> Floats:
    """The suite asks for the first checkpoint's skill; the second does a little harm."""
    found: Floats = 0.2 + 0.35 * np.exp(-0.5 * (c[:, 0] - 1.05 - moved) ** 2 / 0.7**2)
    return found * np.exp(-0.10 * c[:, 1] ** 2)


def flat(c: Floats, moved: float) -> Floats:
    """All that is not carried too far scores the same."""
    length = np.sqrt((c**2).sum(1))
    found: Floats = 0.55 / (1 + np.exp(4 * (length - 1.9 - moved)))
    return found


def harmful(c: Floats, moved: float) -> Floats:
    """Both checkpoints are good, their mean is neither better nor worse, and whoever goes on falls."""
    total = c.sum(1)
    found: Floats = 0.6 * np.exp(-0.5 * np.maximum(total - 1.05 - moved, 0) ** 2 / 0.5**2)
    nearer: Floats = found * (0.75 + 0.25 * np.exp(-0.5 * np.minimum(total - 1, 0) ** 2 / 0.5**2))
    return nearer


def modest(c: Floats, moved: float) -> Floats:
    """An equal mix that is extrapolated by a third gains three points."""
    return 0.3 + 0.25 * _bowl(c, np.full(2, 0.65 + moved), 1.0)


def three(c: Floats, moved: float) -> Floats:
    """Three checkpoints: half of each gains four points."""
    return 0.3 + 0.25 * _bowl(c, np.array([0.6, 0.5, 0.4]) + moved, 0.9)


def eight(c: Floats, moved: float) -> Floats:
    """Eight checkpoints: a third of each gains five points."""
    return 0.25 + 0.25 * _bowl(c, np.full(8, 0.3 + moved), 1.2)


def run(c: Floats, moved: float) -> Floats:
    """Two checkpoints of one training run, nearly parallel: going on by a third gains four points, the sum of both is too far."""
    total, apart = c[:, 0] + c[:, 1], c[:, 0] - c[:, 1]
    away = ((total - 1.3 - moved) / 0.7) ** 2 + ((apart + 0.4) / 1.6) ** 2
    found: Floats = 0.3 + 0.25 * np.exp(-0.5 * away)
    return found


FORMULAS = {
    "flat": Formula(flat),
    "harmful": Formula(harmful),
    "unrelated": Formula(unrelated),
    "modest": Formula(modest),
    "three": Formula(three, 3),
    "eight": Formula(eight, 8),
    "run": Formula(run, cosine=0.85),
}


def correlation(distance: Floats) -> Floats:
    """Of a document's processes at two points."""
    found: Floats = 0.45 + 0.52 * np.exp(-distance / 1.8) + 0.03 * (distance == 0)
    return found


def made(name: str, formula: Formula, seed: int) -> Landscape:
    """A landscape of a formula."""
    generator = np.random.default_rng([seed, len(name)])
    k = formula.checkpoints
    if k == 2:
        points = np.stack(np.meshgrid(_AXIS, _AXIS, indexing="ij"), -1).reshape(-1, 2)
    else:
        totals = generator.uniform(0, 3, size=(_SCATTERED, 1))
        points = totals * generator.dirichlet(np.full(k, 1.5), size=_SCATTERED)
        points = np.concatenate([np.eye(k), np.zeros((1, k)), points]).round(4)
    placed = points if formula.cosine is None else points @ np.linalg.cholesky(formula.gram)
    away = np.sqrt(((placed[:, None] - placed[None]) ** 2).sum(-1))
    root = np.linalg.cholesky(correlation(away) + 1e-9 * np.eye(len(points)))
    latent = root @ generator.normal(size=(len(points), DOCUMENTS))
    share = formula.share(points, 0.0 if seed == 0 else 0.15)
    return Landscape(
        name=name,
        names=tuple(f"c{i + 1}" for i in range(k)),
        points=points,
        outcomes=latent < special.ndtri(np.clip(share, 1e-6, 1 - 1e-6))[:, None],
        kinds=("",) * DOCUMENTS,
        thresholds=np.full(DOCUMENTS, 0.5),
        checkpoints=k,
        gram=formula.gram,
    )


def main() -> None:
    for seed in (0, 1):
        for name, formula in FORMULAS.items():
            landscape = made(f"{name}-{seed + 1}", formula, seed)
            landscape.save(FOLDER / f"{landscape.name}.npz")
            best = landscape.outcomes.mean(1).max()
            alone = [float(landscape.solve(p).mean()) for p in np.eye(formula.checkpoints)]
            print(f"{landscape.name}: best {best:.3f}, inputs {np.round(alone, 3).tolist()}")


if __name__ == "__main__":
    main()
