"""Where a look is worth most among points within the study's bound on the shift."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from exme.search.study.space import Bounds, Space, Value
from exme.search.trials.lineup import Lineup
from exme.search.trials.shift import Shift

from .allocation import State
from .box import point_of, proposal_at
from .proposer import candidates, knowledge_gradient

# A point that is moved to the bound on the shift keeps this distance from those tried, in shares of the bounds.
NEAR = 0.005


def within_bound(
    shift: Shift,
    space: Space,
    lineup: Lineup,
    state: State,
    noise: float,
    bounds: Bounds,
    generator: np.random.Generator,
    blocks: Sequence[Sequence[int]],
    is_new: Callable[[Mapping[str, Value]], bool],
) -> dict[str, Value] | None:
    """The proposal that is worth most; None where none was found that may be made.

    Points are drawn all over and about the best two, and moved to the bound where they are beyond it: to move
    the best of all there would propose one point again and again.

    Args:
        shift: with the bound.
        space: of the proposals.
        lineup: all candidates so far.
        state: what they say.
        noise: variance of what the look tells.
        bounds: of now.
        generator: of the points.
        blocks: coefficients that belong together.
        is_new: whether a proposal may be made.
    """
    free = [i for i, runner in enumerate(lineup.runners) if not runner.barred]
    means = state.surrogate.at(state.surrogate.x[free]).mean
    centres = state.surrogate.x[free][np.argsort(-means)[:2]]
    drawn = candidates(centres, len(lineup.runners), len(bounds), generator, blocks)
    found = [shift.within(proposal_at(point, bounds), space) for point in drawn]
    points = np.stack([point_of(each, bounds) for each in found])
    everywhere = state.surrogate.at(np.concatenate([state.surrogate.x, points]))
    worth = knowledge_gradient(
        everywhere, np.full(len(everywhere.mean), state.surrogate.nugget + noise)
    )[len(state.surrogate.x) :]
    away = np.abs(points[:, None] - state.surrogate.x[None]).max(-1).min(-1)
    # (where everything is near what was tried, e.g. within a very low bound, what is new will do)
    order = np.lexsort((-worth, away <= NEAR))
    return next((found[i] for i in order if is_new(found[i])), None)
