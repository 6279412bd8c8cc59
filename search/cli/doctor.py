"""What of this machine works for a search: each part is tried, not looked up."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import psutil
from rich.table import Table
from rich.text import Text

from exme.tasks import UserError

_LIBRARIES = ("torch", "transformers", "lm_eval", "optuna", "datasets", "safetensors")
# Packages that something optional needs: module, what for, how to get it.
_OPTIONAL = (
    ("psycopg", "studies in PostgreSQL", "pip install 'exme[postgres]'"),
    ("pyarrow", "tables as Parquet: exme table", "comes with datasets"),
    ("math_verify", "suite math", "pip install 'lm_eval[math]'"),
    ("langdetect", "suite ifeval", "pip install 'lm_eval[ifeval]'"),
)
_HUB_SECONDS = 5.0

OK, ABSENT, BROKEN = "ok", "absent", "broken"


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        name: what.
        state: ``ok``; ``absent``, which only some searches miss; ``broken``, with which none runs.
        detail: what was found.
        remedy: what to do about it; empty where it is ok.
    """

    name: str
    state: str
    detail: str
    remedy: str = ""


def examine(runs: Path) -> Iterator[Finding]:
    """Try everything, one by one; quick things first.

    Args:
        runs: where runs would go.
    """
    for check in (
        _python,
        _versions,
        _machine,
        lambda: _disk(runs),
        _gpus,
        _compiler,
        _sandbox,
        _hub,
    ):
        yield from _safely(check)
    for module, purpose, remedy in _OPTIONAL:
        yield _optional(module, purpose, remedy)
    yield from _safely(_nltk)


def _safely(check: Callable[[], Finding]) -> Iterator[Finding]:
    """A check that breaks is a finding: the others still count."""
    try:
        yield check()
    except Exception as error:  # noqa: BLE001
        name = getattr(check, "__name__", "disk").strip("_")
        yield Finding(name, BROKEN, f"{type(error).__name__}: {error}", "see the message")


def _python() -> Finding:
    where = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    return Finding("Python", OK, where)


def _versions() -> Finding:
    found = {name: _version(name) for name in ("exme", *_LIBRARIES)}
    missing = [name for name, version in found.items() if version is None]
    told = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if missing:
        return Finding("libraries", BROKEN, f"missing: {', '.join(missing)}", "make setup")
    return Finding("libraries", OK, told)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> Finding:
    from .processes import usable_cores  # noqa: PLC0415

    memory = psutil.virtual_memory()
    told = (
        f"{platform.system()} {platform.machine()}, {usable_cores()} cores for us, "
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB of memory free"
    )
    return Finding("machine", OK, told)


def _disk(runs: Path) -> Finding:
    folder = runs.absolute()
    existing = next(each for each in (folder, *folder.parents) if each.is_dir())
    free = shutil.disk_usage(existing).free
    told = f"{free / 2**30:.1f} GB free in {existing}"
    if not os.access(existing, os.W_OK):
        return Finding(
            "disk", BROKEN, f"{existing} cannot be written", "give --runs another folder"
        )
    if free < 2**30:
        return Finding("disk", ABSENT, told, "an export takes the size of one model; make room")
    return Finding("disk", OK, told)


def _gpus() -> Finding:
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        told = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            told.append(f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GB free")
            # A matrix product, so that a driver that does not fit is found here.
            torch.ones(8, 8, device=f"cuda:{index}") @ torch.ones(8, 8, device=f"cuda:{index}")
        return Finding("GPU", OK, "; ".join(told))
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        return Finding(
            "GPU", ABSENT, f"there is one, and torch {torch.__version__} has no CUDA",
            "make distclean, then make setup without TORCH_INDEX",
        )  # fmt: skip
    return Finding("GPU", ABSENT, "torch sees none: searches run on the CPU", "none is needed")


def _compiler() -> Finding:
    from exme.evaluators.fast.attention import kernel  # noqa: PLC0415
    from exme.search.merging.arithmetic import compiled as merging  # noqa: PLC0415

    if merging.kernel() is not None and kernel() is not None:
        return Finding("C compiler", OK, "merge arithmetic and attention are compiled")
    return Finding(
        "C compiler", ABSENT, "merging and attention run in torch, with the same answers, slower",
        "install gcc or clang (Debian: apt install gcc libc6-dev)",
    )  # fmt: skip


def _sandbox() -> Finding:
    from exme.evaluators.sandbox import Sandbox, SandboxUnavailable  # noqa: PLC0415

    try:
        with Sandbox() as sandbox:
            layers = sandbox.layers()
    except SandboxUnavailable as error:
        return Finding("sandbox", ABSENT, str(error), "suites humaneval and mbpp need it")
    stands = ", ".join(layer.name for layer in layers if layer.active)
    lacks = ", ".join(layer.name for layer in layers if not layer.active)
    return Finding("sandbox", OK, f"stands: {stands}" + (f"; without: {lacks}" if lacks else ""))


def _hub() -> Finding:
    from huggingface_hub import constants, get_token  # noqa: PLC0415

    if constants.is_offline_mode():
        told = f"offline by HF_HUB_OFFLINE; models come from {constants.HF_HUB_CACHE}"
        return Finding("hub", ABSENT, told, "unset it, or give folders: docs/how-to/air-gapped.md")
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_HUB_SECONDS).close()  # through the user's proxy
    except urllib.error.HTTPError:
        pass  # it answers
    except OSError as error:
        reason = getattr(error, "reason", error)
        told = f"{constants.ENDPOINT} is not reached ({reason})"
        return Finding("hub", ABSENT, told, "give local folders: docs/how-to/air-gapped.md")
    login = "logged in" if get_token() else "no token: gated models need `hf auth login`"
    return Finding("hub", OK, f"{constants.ENDPOINT} answers; {login}")


def _optional(module: str, purpose: str, remedy: str) -> Finding:
    if util.find_spec(module) is None:
        return Finding(module, ABSENT, f"for {purpose}", remedy)
    return Finding(module, OK, f"for {purpose}")


def _nltk() -> Finding:
    if util.find_spec("nltk") is None:
        return Finding("nltk data", ABSENT, "for suite ifeval", "pip install 'lm_eval[ifeval]'")
    import nltk  # noqa: PLC0415

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except (LookupError, OSError):
        remedy = "python -m nltk.downloader punkt_tab, or set NLTK_DATA to a folder that has it"
        return Finding("nltk data", ABSENT, "punkt_tab, for suite ifeval", remedy)
    return Finding("nltk data", OK, "punkt_tab, for suite ifeval")


def storage_finding(url: str) -> Finding:
    """Whether a study's storage opens."""
    from exme.search.storage import hide_secrets, study_names  # noqa: PLC0415

    try:
        count = len(study_names(url))
    except UserError as error:
        return Finding("storage", BROKEN, str(error), "see `storage` in the study file")
    return Finding("storage", OK, f"{hide_secrets(url)}: {count} studies")


_SIGNS = {OK: ("✓", "green"), ABSENT: ("–", "yellow"), BROKEN: ("✗", "bold red")}


def findings_table(found: list[Finding]) -> Table:
    """Findings for people."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for finding in found:
        sign, style = _SIGNS[finding.state]
        detail = Text(finding.detail)
        if finding.remedy and finding.state != OK:
            detail.append(f"\n→ {finding.remedy}", style="dim")
        table.add_row(Text(sign, style=style), Text(finding.name, style="bold"), detail)
    return table
