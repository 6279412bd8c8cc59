"""The directions that there are: what a study needs to know of each before it is computed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .direction import Direction


@dataclass(frozen=True)
class About:
    """What a study needs to know of a direction before it is computed.

    Attributes:
        name: as a study names it.
        title: as people read it.
        paper: where it is described; empty where there is no paper.
        place: of the class that computes it: ``module:Class`` of this package, or of another by its whole name.
        gives: ``vector``, a task vector of its own, or ``coefficients`` for the checkpoints'.
        needs: ``nothing``, ``prompts``, or ``references``, the prompts and their reference answers.
        least: fewest checkpoints that it is made for.
    """

    name: str
    title: str
    paper: str
    place: str
    gives: Literal["vector", "coefficients"]
    needs: Literal["nothing", "prompts", "references"]
    least: int = 2


DIRECTIONS: dict[str, About] = {
    about.name: about
    for about in (
        About("regmean", "RegMean", "arXiv:2212.09849", "regmean:RegMean", "vector", "prompts"),
        About(
            "gradient_matching",
            "Uncertainty-based gradient matching",
            "arXiv:2310.12808",
            "gradient_matching:GradientMatching",
            "vector",
            "references",
        ),
        About(
            "adamerging",
            "AdaMerging, task-wise",
            "arXiv:2310.02575",
            "adamerging:TaskWise",
            "coefficients",
            "prompts",
            least=1,
        ),
        About(
            "adamerging_layers",
            "AdaMerging, layer-wise",
            "arXiv:2310.02575",
            "adamerging:LayerWise",
            "vector",
            "prompts",
            least=1,
        ),
        About(
            "nll",
            "Gradient warm start",
            "",
            "adamerging:WarmStart",
            "coefficients",
            "references",
            least=1,
        ),
        About(
            "np_merge", "NP Merge", "arXiv:2412.15467", "np_merge:NPMerge", "vector", "references"
        ),
        About(
            "prodistill",
            "ProDistill",
            "arXiv:2502.12706",
            "prodistill:ProDistill",
            "vector",
            "prompts",
        ),
        About("doge", "DOGE", "arXiv:2501.01230", "doge:Doge", "vector", "nothing"),
    )
}


def direction_of(name: str) -> Direction:
    """The method behind a name; imports what computes it."""
    module, _, of = DIRECTIONS[name].place.partition(":")
    place = importlib.import_module(module if "." in module else f"{__package__}.{module}")
    found: Direction = getattr(place, of)()
    return found


def vectors(names: Iterable[str]) -> tuple[str, ...]:
    """Those that are sources of their own, in order."""
    return tuple(name for name in names if DIRECTIONS[name].gives == "vector")
