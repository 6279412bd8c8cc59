"""What the walks through the docs share: one warm process, and clones that it serves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.docs.clone import Clone, MakeClone
from tests.helpers.docs.stand_ins import fill_hub_cache, fill_shared, furnish
from tests.helpers.docs.warm import Warm


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeClone]:
    """Makes clones with the stand-ins in them."""
    folder = tmp_path_factory.mktemp("docs")
    libraries = {"HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1"}
    fill_hub_cache(folder / "hub")
    furnish(folder / "furniture")
    warm = Warm(folder, {**os.environ, **libraries})

    def make(name: str, *, activated: bool = True) -> Clone:
        place: Path = folder / name
        place.mkdir()
        made = Clone(place / "exme", warm, libraries, activated=activated)
        shutil.copytree(folder / "furniture", made.folder, dirs_exist_ok=True)
        return made

    yield make
    warm.close()
    shutil.rmtree(folder)  # the clones are 20 MB each


@pytest.fixture(scope="session")
def used(make_clone: MakeClone) -> Clone:
    """A clone in which a search is over and its winner exported: where the text's commands are typed."""
    clone = make_clone("used")
    search, export = "exme search", "exme export studies/mini.yaml --task gsm8k --out best"
    fill_shared(clone.folder.parent / "shared")
    clone.prepare(f"{search} studies/mini.yaml --task gsm8k && {export}")
    return clone
