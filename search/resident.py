"""The resident model: one live model whose weights are replaced by each candidate's."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from exme.tasks.errors import UserError

from .candidate import Candidate
from .checkpoint import Checkpoint, check_fit, tied_names
from .materialise import combine


class Sources:
    """The base and its checkpoints, checked against each other and read once.

    Args:
        base: the base.
        checkpoints: the fine-tunes by name, in the study's order.

    Raises:
        UserError: they do not fit together; nothing has been loaded then.
    """

    def __init__(self, base: Checkpoint, checkpoints: Mapping[str, Checkpoint]) -> None:
        for checkpoint in checkpoints.values():
            check_fit(base, checkpoint)
        self.base = base
        self.checkpoints = dict(checkpoints)

    @property
    def bytes(self) -> int:
        """Size of all sources in bytes."""
        return self.base.bytes + sum(c.bytes for c in self.checkpoints.values())

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of the base (key ``base``) and of every checkpoint."""
        found = {name: c.fingerprint for name, c in self.checkpoints.items()}
        return {"base": self.base.fingerprint, **found}


class ResidentModel:
    """A live model on a device, and the sources from which every candidate is made afresh.

    Args:
        sources: the base and checkpoints.
        dtype: dtype to which a candidate's weights are rounded, and in which it is exported.
        compute_dtype: dtype in which the model computes; the rounded weights are cast to it.
        device: where the model lives.
        trust_remote_code: run the model code that a checkpoint brings along.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        dtype: torch.dtype,
        compute_dtype: torch.dtype,
        device: torch.device,
        trust_remote_code: bool = False,
    ) -> None:
        self.sources = sources
        self.dtype = dtype
        self.device = device
        folder = sources.base.folder
        self.model: PreTrainedModel = load_model(folder, compute_dtype, trust_remote_code)
        self.model.to(device)  # type: ignore[arg-type]  # transformers' annotation is too narrow
        self.model.eval()
        self.trust_remote_code = trust_remote_code
        self.tokenizer = load_tokenizer(folder, trust_remote_code)
        names = set(sources.base.tensors) - tied_names(sources.base)
        self._live = live_tensors(self.model, names, who="base")
        self._base = _to_device(sources.base.load(), device)
        self._checkpoints = {
            n: _to_device(c.load(), device) for n, c in sources.checkpoints.items()
        }
        self._check_unmerged()

    def _check_unmerged(self) -> None:
        for name, spec in self.sources.base.tensors.items():
            if spec.is_float:
                continue
            for who, tensors in self._checkpoints.items():
                if not torch.equal(tensors[name], self._base[name]):
                    raise UserError(
                        f"checkpoint '{who}': tensor '{name}' ({spec.dtype}) differs from the "
                        f"base's; only floating-point tensors can be merged"
                    )

    @torch.no_grad()
    def materialise(self, candidate: Candidate) -> None:
        """Write a candidate into the live model.

        The checkpoints are added in the order of their names, which is not part of a candidate's
        digest: equal digests mean equal bits.

        Raises:
            FloatingPointError: a weight is not finite (an overflow of a dtype); names the tensor.
                The model then holds parts of two candidates, until the next one is written.
            ValueError: the candidate is rounded to another dtype than this model's.
        """
        if candidate.dtype != str(self.dtype).removeprefix("torch."):
            raise ValueError(f"candidate in {candidate.dtype}, resident model in {self.dtype}")
        names = sorted(candidate.coefficients)
        coefficients = [candidate.coefficients[n] for n in names]
        for tensor, live in self._live.items():
            live.copy_(self._tensor(tensor, names, coefficients))
            if live.is_floating_point() and not torch.isfinite(live).all():
                raise FloatingPointError(f"tensor '{tensor}' of the candidate is not finite")

    def _tensor(self, name: str, names: list[str], coefficients: list[float]) -> torch.Tensor:
        base = self._base[name]
        if not base.is_floating_point():
            return base
        others = [self._checkpoints[n][name] for n in names]
        return combine(name, base, others, coefficients, self.dtype)

    @torch.no_grad()
    def state_dict(self) -> dict[str, torch.Tensor]:
        """The candidate in the model, in the dtype it was rounded to; CPU tensors, not shared.

        The cast back from the compute dtype is exact where that is at least as wide.
        """
        return {
            name: live.detach().to("cpu", self.dtype if live.is_floating_point() else live.dtype)
            .clone().contiguous()
            for name, live in self._live.items()
        }  # fmt: skip


def weights_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # no copy
    return digest.hexdigest()


def pick_device(wanted: str) -> torch.device:
    """The device that the study names; ``auto`` is the GPU where there is one.

    Raises:
        UserError: the device is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device '{wanted}' cannot be used ({reason}); set `device: auto`"
        ) from None
    return device


def live_tensors(
    model: PreTrainedModel, names: Collection[str], *, who: str
) -> dict[str, torch.Tensor]:
    """A model's parameters and buffers by the names that its files use, sorted.

    Tied tensors are one parameter and appear once; buffers that are not saved have no name there.

    Args:
        model: the model.
        names: the tensors in its files, tied ones once.
        who: what error messages call the model.

    Raises:
        UserError: a tensor has no counterpart in the model, or a parameter none in the files.
    """
    live = dict(model.named_parameters()) | dict(model.named_buffers())
    found = {name: _live_name(model, name, live) for name in sorted(names)}
    kind = f"{type(model).__name__} of transformers {transformers.__version__}"
    for name, own in found.items():
        if own not in live:
            raise UserError(f"{who}: tensor '{name}' has no counterpart in {kind}")
    merged = set(found.values())
    missing = [own for own, _ in model.named_parameters() if own not in merged]
    if missing:
        raise UserError(
            f"{who}: {kind} needs tensor '{missing[0]}', which its files do not hold; download or "
            f"save it again"
        )
    return {name: live[own] for name, own in found.items()}


def _live_name(model: PreTrainedModel, name: str, live: Mapping[str, torch.Tensor]) -> str:
    """A parameter's name in the model: transformers 5 renames some of those in files.

    GPT-NeoX's `embed_out` is `lm_head` there, and GPT-2's files lack the prefix `transformer.`.
    Tensors that it takes apart or stacks (the experts of mixtures) have no counterpart.
    """
    if name in live:
        return name
    conversions = getattr(model, "_weight_conversions", None) or []
    renamings = [c for c in conversions if isinstance(c, WeightRenaming)]
    converters = [c for c in conversions if isinstance(c, WeightConverter)]
    prefix = model.base_model_prefix
    own, converter = rename_source_key(name, renamings, converters, prefix, dict(live))
    return own if converter is None else name


def load_model(folder: Path, dtype: torch.dtype | str, trust_remote_code: bool) -> PreTrainedModel:
    """A model by transformers; dtype ``auto`` is that of its config.json.

    Raises:
        UserError: transformers does not know it, or its files do not fit its config.json.
    """
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: transformers cannot load it ({reason})") from None
    finally:
        transformers.logging.set_verbosity(level)
    return model


def load_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """A tokenizer by transformers; a UserError where there is none."""
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: transformers finds no tokenizer there ({reason})") from None


def _to_device(tensors: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
