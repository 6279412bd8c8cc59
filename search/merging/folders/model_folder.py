"""A candidate as a folder that transformers loads: written beside its place, read back, and only then renamed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from exme.search.merging import (
    Candidate,
    live_tensors,
    load_model,
    load_tokenizer,
    tokenizer_of,
    weights_digest,
)
from exme.search.merging.methods import METHODS, PLAIN
from exme.search.merging.sources import TOKENIZER, Checkpoint, Sources, sync
from exme.tasks import UserError

from .chat_models import TEMPLATE, template_text
from .mergekit import mergekit_config
from .staging import RECIPE, check_space, check_target, staged, write_text
from .stream import digests_on_disk, write_stream

MERGEKIT = "mergekit_config.yml"
SHARD_BYTES = 5 * 10**9

# What an export takes from its base besides the weights: that with which the candidate was scored.
_FROM_BASE = (
    "generation_config.json",
    *TOKENIZER,
    "LICENSE*",
)


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        folder: where it is.
        digest: the candidate's digest.
        weights_digest: SHA-256 of the weights as they are on the disk.
        bytes: size of the weights.
        warning: what to look at before passing it on; empty where there is nothing.
        verdict: what the search says of it; empty where there was no search.
    """

    folder: Path
    digest: str
    weights_digest: str
    bytes: int
    warning: str = ""
    verdict: str = ""

    def __str__(self) -> str:
        return (
            f"Exported candidate {self.digest} to {self.folder} ({self.bytes / 1e6:,.1f} MB of "
            f"weights, read back bit for bit; SHA-256 {self.weights_digest[:16]})."
        )


def export_model(
    sources: Sources,
    candidate: Candidate,
    out: str | Path,
    *,
    card: str,
    names: Mapping[str, str],
    extra: Mapping[str, str] | None = None,
    force: bool = False,
    code: bool = False,
    loads: bool = True,
    made_before: str = "",
    max_shard_bytes: int = SHARD_BYTES,
) -> ExportResult:
    """Write a candidate as a folder for `from_pretrained`, tensor by tensor, and read it back.

    Args:
        out: the folder; it must not exist, be empty or, with `force`, be an earlier export.
        card: content of README.md.
        names: where the base (key ``base``) and the checkpoints came from, for the recipe.
        extra: further text files, content by name.
        force: replace an earlier export, once the new one is complete.
        code: copy the base's model code, which is trusted.
        loads: load it through transformers, too, which takes the model's size of memory.
        made_before: SHA-256 of its weights when they were made before; empty where nobody knows.
        max_shard_bytes: largest weight file.

    Raises:
        UserError: the folder is taken, the disk is too small, a source has changed since the
            candidate was scored, or what is read back is not what was written or was made before.
        FloatingPointError: a weight of the candidate is not finite.
    """
    out = Path(out).expanduser().resolve()
    check_target(out, sources, force=force)
    check_sources(sources, candidate)
    sources.check_unchanged()
    size = sum(spec.elements for spec in sources.base.tensors.values())
    size *= 4 if candidate.dtype == "float32" else 2
    check_space(out, size)
    try:
        with staged(out) as folder:
            made = write_model(
                folder, sources, candidate, code=code, max_shard_bytes=max_shard_bytes
            )
            digest = verify(folder, made)
            if made_before not in ("", digest):
                raise UserError(
                    f"{out}: made again, the weights have SHA-256 {digest[:16]}, expected "
                    f"{made_before[:16]}; nothing was written"
                )
            texts = {
                **(extra or {}),
                "README.md": card,
                MERGEKIT: mergekit_config(candidate, names),
                RECIPE: recipe(candidate, names, digest),
            }
            for name, text in texts.items():
                write_text(folder / name, text)
            if loads:
                verify_loads(folder, sources, candidate, digest, code=code)
            check_target(out, sources, force=force)  # once more: that took its time
    except OSError as error:
        raise UserError(
            f"{out}: the export could not be written, nothing was left there ({error})"
        ) from None
    return ExportResult(out, candidate.digest, digest, size)


def write_model(
    folder: Path,
    sources: Sources,
    candidate: Candidate,
    *,
    code: bool,
    max_shard_bytes: int = SHARD_BYTES,
) -> dict[str, str]:
    """Write a candidate and what `from_pretrained` needs beside its weights.

    Args:
        folder: an existing folder.
        code: copy the base's model code.
        max_shard_bytes: largest weight file.

    Returns and raises: see `write_stream`.
    """
    made = write_stream(folder, sources, candidate, max_shard_bytes=max_shard_bytes)
    copy_from_base(sources, folder, code=code)
    write_text(folder / "config.json", config_file(sources, candidate.dtype))
    return made


def verify(folder: Path, made: Mapping[str, str]) -> str:
    """Read the weights back from their files.

    Args:
        folder: an export.
        made: digest of each tensor as it was written.
    Returns:
        SHA-256 of the weights.
    Raises:
        UserError: they are not those written.
    """
    digest, found = digests_on_disk(folder)
    if found != made:
        raise UserError(f"{folder}: read back, the weights are not those written; try another disk")
    return digest


def verify_loads(
    folder: Path, sources: Sources, candidate: Candidate, digest: str, *, code: bool
) -> None:
    """Load an export through transformers.

    Raises:
        UserError: it is not the model with this digest.
    """
    written, dtype = Checkpoint("export", folder), getattr(torch, candidate.dtype)
    model = load_model(folder, "auto", code)
    live = live_tensors(model, written.tensors, who=str(folder))
    loaded = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in live.items()
    }
    vocabulary = load_tokenizer(folder, code).get_vocab()
    if (
        model.dtype != dtype
        or weights_digest(loaded) != digest
        or vocabulary != tokenizer_of(sources, code).get_vocab()
    ):
        raise UserError(f"{folder}: from_pretrained gives another model than the one exported")


def chat_template(sources: Sources) -> tuple[str | None, str]:
    """The chat template that an export needs beside the base's files, and what was taken from where.

    Fine-tunes usually bring the template that their base lacks; the first that has one gives it.
    """
    scored = "The tokenizer and the generation settings are the base's, with which it was scored"
    if template_text(sources.base.folder):
        return None, f"{scored}, and so is the chat template."
    for name, source in sources.checkpoints.items():
        if template := template_text(source.folder):
            return template, f"{scored}; the chat template is that of '{name}', the base has none."
    return None, f"{scored}; no input has a chat template."


def copy_from_base(sources: Sources, folder: Path, *, code: bool) -> None:
    """Copy what an export needs besides weights; the base's model code only where it is trusted."""
    base = sources.base.folder
    patterns = (*_FROM_BASE, "*.py") if code else _FROM_BASE
    for file in {file for pattern in patterns for file in base.glob(pattern) if file.is_file()}:
        shutil.copyfile(file, folder / file.name)
        sync(folder / file.name)
    if sources.union is not None:
        sources.union.write(folder)
    template, _ = chat_template(sources)
    if template is not None:
        write_text(folder / TEMPLATE, template)


def config_file(sources: Sources, dtype: str) -> str:
    """Content of config.json: the base's, with the candidate's dtype."""
    config = sources.base.config | {"dtype": dtype}
    if "torch_dtype" in config:  # transformers 4 reads and writes this one
        config["torch_dtype"] = dtype
    return json.dumps(config, indent=2) + "\n"


def check_sources(sources: Sources, candidate: Candidate) -> None:
    """Refuse sources that are not those the candidate was made of."""
    for name, fingerprint in sources.fingerprints.items():
        if candidate.sources.get(name) != fingerprint:
            raise UserError(
                f"'{name}' is not what the candidate was made of: its weights have another "
                f"SHA-256 ({fingerprint[:16]}, then {str(candidate.sources.get(name))[:16]}); put "
                f"the old files back, or search again"
            )


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
