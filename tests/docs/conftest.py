"""What the walks through the docs share: one warm process, and clones that it serves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .clone import Clone
from .pages import ROOT
from .stand_ins import fill_hub_cache, furnish
from .warm import Warm

MakeClone = Callable[..., Clone]


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeClone]:
    """Makes clones with the stand-ins in them."""
    folder = tmp_path_factory.mktemp("docs")
    libraries = {"HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1"}
    fill_hub_cache(folder / "hub")
    warm = Warm(folder, {**os.environ, **libraries})

    def make(name: str, *, activated: bool = True) -> Clone:
        place: Path = folder / name
        place.mkdir()
        if (ROOT.parent / "shared" / "data").is_dir():
            (place / "shared").symlink_to(ROOT.parent / "shared")
        made = Clone(place / "exme", warm, libraries, activated=activated)
        furnish(made.folder)
        return made

    yield make
    warm.close()


@pytest.fixture(scope="session")
def used(make_clone: MakeClone) -> Clone:
    """A clone in which a search is over and its winner exported: where the text's commands are typed."""
    clone = make_clone("used")
    search, export = "exme search", "exme export studies/mini.yaml --task gsm8k --out best"
    clone.prepare(f"{search} studies/mini.yaml --task gsm8k && {export}")
    return clone
