"""Where a base or a checkpoint lives: a mini model, a folder, or a model on the hub."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from exme.tasks import UNREACHABLE, UserError, did_you_mean, hub_is_reachable
from exme.tasks.mini import MODELS

MINI = "mini/"

# A tokenizer's files, by their names in transformers.
TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "*.tiktoken",
    "chat_template.*",
)

# What a merge and its export can use. Pickles are never fetched; `*.py` runs only under
# `trust_remote_code`.
ALLOWED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    *TOKENIZER,
    "*.py",
    "LICENSE*",
    "README.md",
)
# Copies of the same weights in other formats, which some repositories keep beside them.
IGNORED = ("*/*", "consolidated*")

_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^@\s]+))?")


def mini_names() -> list[str]:
    """Names of the mini models that ship with the package, sorted, e.g. ``mini/base``."""
    return sorted(MINI + config.parent.name for config in MODELS.glob("*/config.json"))


def is_hub_id(name: str) -> bool:
    """Whether `name` means a model on the hub: ``owner/model`` or ``owner/model@revision``.

    A mini model and a folder that exists go before the hub.
    """
    if name.startswith(MINI) or Path(name).expanduser().exists():
        return False
    return _HUB_ID.fullmatch(name) is not None


def public_names(places: Mapping[str, str]) -> dict[str, str]:
    """Where models come from, as may be told to anyone: no folder of this machine, no user's name.

    A model on the hub and a mini model stay as they are. Of a folder there is its name, ``./gsm``, with so many of the
    folders above it that no other has the same: ``./gsm/checkpoint-500``.

    Args:
        places: by name, as a study gives them.
    """
    parts = {
        name: () if place.startswith(MINI) or is_hub_id(place) else _parts(place)
        for name, place in places.items()
    }
    return {
        name: "/".join((".", *_tail(own, set(parts.values()) - {own}))) if own else places[name]
        for name, own in parts.items()
    }


def _parts(place: str) -> tuple[str, ...]:
    full = os.path.abspath(os.path.expanduser(place))  # noqa: PTH100, PTH111  (links stay as people named them)
    return Path(full).parts[1:]


def _tail(own: tuple[str, ...], others: set[tuple[str, ...]]) -> tuple[str, ...]:
    """The shortest end of a path that no other has."""
    for length in range(1, len(own)):
        if own[-length:] not in {other[-length:] for other in others}:
            return own[-length:]
    return own


def locate(name: str, *, who: str, revision: str | None = None) -> Path:
    """Find the folder of a model; one on the hub is downloaded, once, into the hub's cache.

    Args:
        name: ``mini/<name>``, a folder (relative to the current one; ``~`` is expanded), or a hub
            id, ``owner/model`` or ``owner/model@revision``.
        who: what error messages call it, e.g. ``checkpoint 'math'``.
        revision: branch, tag or commit on the hub; one in `name` goes before it.

    Raises:
        UserError: it is not there, or cannot be downloaded.
    """
    if name.startswith(MINI):
        return _mini(name, who)
    try:
        os.fsencode(
            name
        )  # (pathlib says of a name that the system cannot have that it is not there)
        folder = Path(name).expanduser()
        is_there, is_folder = folder.exists(), folder.is_dir()
    except UnicodeEncodeError:
        raise UserError(
            f"{who}: {name!a} cannot be named here: Python writes file names in {sys.getfilesystemencoding()}; set "
            f"PYTHONUTF8=1, or a locale of UTF-8"
        ) from None
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, ~nobody
        raise UserError(f"{who}: {name!r} is no folder ({error})") from None
    if is_folder:
        return folder
    if is_there:
        raise UserError(f"{who}: {name} is a file; give the folder that holds it")
    found = _HUB_ID.fullmatch(name)
    if found is None:
        raise UserError(
            f"{who}: no folder {name} (seen from {Path.cwd()}), and it is no hub id either; give a "
            f"folder, a hub id such as Qwen/Qwen2.5-0.5B, or a mini model ({_have()})"
            f"{did_you_mean(name, mini_names())}"
        )
    return _download(found["id"], found["revision"] or revision, who)


def _mini(name: str, who: str) -> Path:
    if name not in mini_names():
        raise UserError(
            f"{who}: no mini model '{name}' (have: {_have()}){did_you_mean(name, mini_names())}"
        )
    return MODELS / name.removeprefix(MINI)


def _have() -> str:
    return ", ".join(mini_names()) or "none; this installation lacks them"


def _download(repository: str, revision: str | None, who: str) -> Path:
    # Imported here: not needed for local models, and slow.
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    model = repository if revision is None else f"{repository}@{revision}"
    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(ALLOWED),
            ignore_patterns=list(IGNORED),
            local_files_only=not hub_is_reachable(),
        )
    except GatedRepoError:
        reason = "its owner asks for a licence to be accepted; do so on its page on the hub, then "
        reason += "log in with `hf auth login`"
    except RepositoryNotFoundError:
        reason = "the hub has no such model, or it is private: check the spelling, or log in with "
        reason += "`hf auth login`"
    except RevisionNotFoundError:
        reason = f"the model has no revision '{revision}'"
    except Exception as error:  # noqa: BLE001  (network, disk, cache: they share no class)
        reason = _unreachable(error, offline=constants.is_offline_mode())
    else:
        return Path(folder)
    raise UserError(f"{who}: cannot get '{model}' from the hub, nor is it a folder here: {reason}")


def _unreachable(error: Exception, *, offline: bool) -> str:
    if offline:
        return "HF_HUB_OFFLINE is set and the model is not in the cache; unset it, or give a folder"
    if not hub_is_reachable():
        return (
            f"{UNREACHABLE}, and the model is not in the cache; check the network, or give a folder"
        )
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return f"{first}; check the network, or download it elsewhere and give the folder"
