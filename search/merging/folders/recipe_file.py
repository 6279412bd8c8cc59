"""The file beside exported weights that says all it takes to make them again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata

from exme.search.merging import Candidate
from exme.search.merging.methods import METHODS, PLAIN


def recipe(candidate: Candidate, names: Mapping[str, str], digest: str) -> str:
    """Content of exme_recipe.json: all that it takes to make and to recognise the weights."""
    content = {
        "exme": metadata.version("exme"),
        "formula": _formula(candidate),
        "candidate": candidate.to_json(),
        "digest": candidate.digest,
        "weights_digest": digest,
        "sources": {
            name: {"model": names.get(name, name), "sha256": fingerprint}
            for name, fingerprint in candidate.sources.items()
        },
    }
    return json.dumps(content, indent=2) + "\n"


def _formula(candidate: Candidate) -> str:
    if candidate.method in PLAIN:
        return "base + sum_i c_i * (checkpoint_i - base), in float32, rounded once to dtype"
    method = METHODS[candidate.method]
    return f"{method.title} ({method.paper}), in float32, rounded once to dtype; docs/methods.md"
