"""What a candidate is to mergekit: the same merge, or a reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from exme.search.merging.candidate import Candidate
from exme.search.merging.folders import mergekit
from exme.search.merging.methods import METHODS, PLAIN
from exme.search.merging.methods.ties import Ties

NAMES = {"base": "org/base", "math": "org/math", "code": "org/code"}


def config(method: str) -> Any:
    own = {parameter.name: parameter.high for parameter in METHODS[method].own}
    candidate = Candidate({"math": 0.5, "code": 0.5}, method, "bfloat16", {}, parameters=own)
    return yaml.safe_load(mergekit.mergekit_config(candidate, NAMES))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_written_by_mergekits_name_for_it_or_not_at_all(method: str) -> None:
    found = config(method)
    if found is not None:
        assert (found["merge_method"] == "task_arithmetic") == (method in PLAIN)


def test_a_method_that_mergekit_is_not_known_to_have_is_not_written_as_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(Ties):
        name, title = "own", "Own"

    monkeypatch.setitem(METHODS, "own", Own)
    assert config("own") is None
