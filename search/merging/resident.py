"""The resident model: one live model whose weights are replaced by each candidate's."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from exme.evaluators.fast import is_out_of_memory
from exme.search.merging.methods.method import Merge
from exme.search.merging.sources import (
    Residence,
    Sources,
    choose,
    read_json,
    settle,
    untied,
)
from exme.tasks import UserError, one_line

from .candidate import Candidate
from .devices import SPREAD, spread, where_they_live
from .live import live_tensors, places
from .materialise import WORTH_COMPILING, Merger

__all__ = ["ResidentModel", "Sources", "load_model", "pick_device"]


# Devices that hold values; torch knows others, such as ``meta``, that hold shapes alone.
_DEVICES = ("cpu", "cuda", "mps", "xpu")


class ResidentModel:
    """A live model on a device, and the sources from which every candidate is made afresh.

    Attributes:
        at_hand: names of the checkpoints that are merged from now: those of the search, or the one of the others
            (`Sources.others`) that the last candidate named.

    Args:
        dtype: dtype to which a candidate's weights are rounded, and in which it is exported.
        compute_dtype: dtype in which the model computes; the rounded weights are cast to it.
        trust_remote_code: run the model code that a checkpoint brings along.
        residence: where the sources are kept: ``device``, ``host``, ``mapped``, or ``auto``.
        over_all: spread the live model over all GPUs and the host's memory, instead of one device.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        dtype: torch.dtype,
        compute_dtype: torch.dtype,
        device: torch.device,
        trust_remote_code: bool = False,
        residence: str = "auto",
        over_all: bool = False,
    ) -> None:
        self.sources = sources
        self.dtype = dtype
        self.device = device
        self.is_spread = over_all
        folder = sources.base.folder
        elements = sum(spec.elements for spec in sources.base.tensors.values())
        live_bytes = elements * compute_dtype.itemsize
        self.residence = choose(residence, device, sources.bytes, live_bytes, over_all=over_all)
        self.model: PreTrainedModel = load_model(folder, compute_dtype, trust_remote_code)
        if sources.union is not None and sources.union.rows != self.model.config.vocab_size:
            self.model.resize_token_embeddings(sources.union.rows, mean_resizing=False)
        self.model.eval()
        self.trust_remote_code = trust_remote_code
        self.tokenizer = tokenizer_of(sources, trust_remote_code)
        names = untied(sources.base)
        self._live = live_tensors(self.model, names, who="base")
        if over_all:
            stand = places(self.model, names, who="base")
            spread(self.model)
            self._live = where_they_live(self.model, self._live, stand)
        else:
            self.model.to(device)  # type: ignore[arg-type]  # transformers' annotation is too narrow
            self._live = live_tensors(self.model, names, who="base")
        self._merged = [name for name, live in self._live.items() if live.is_floating_point()]
        self._compiled = elements >= WORTH_COMPILING
        self._holds: dict[str, Merge] = {}
        self._settle(None, frozenset(sources.checkpoints))

    def _settle(self, before: Residence | None, names: frozenset[str]) -> None:
        """Bring some checkpoints to where they are merged from."""
        self.at_hand: frozenset[str] = frozenset()
        self._settled = settle(self.residence, self.sources.only(names), self.device, before)
        self.at_hand = names
        self._merger = Merger(self._settled, self.dtype, compiled=self._compiled)
        self._copy_unmerged()

    def _bring(self, names: Collection[str]) -> None:
        """Have the checkpoints at hand that a candidate names, in the place of those that are."""
        every = self.sources.every
        needed = frozenset(name for name in names if name in every)
        if needed <= self.at_hand:
            return
        for name in self.at_hand - needed:
            every[name].reader.close()
        self._settle(self._settled, needed)

    @torch.no_grad()
    def _copy_unmerged(self) -> None:
        """Integer and boolean tensors: the base's, in which all must agree."""
        for name in self._live.keys() - set(self._merged):
            found = self._settled.fetch(name, self._live[name].device)
            for who, values in found.checkpoints.items():
                if isinstance(values, torch.Tensor) and not torch.equal(values, found.base):
                    raise UserError(
                        f"checkpoint '{who}': tensor '{name}' "
                        f"({self.sources.base.tensors[name].dtype}) differs from the base's; only "
                        f"floating-point tensors can be merged"
                    )
            self._live[name].copy_(found.base)

    @torch.no_grad()
    def materialise(self, candidate: Candidate) -> None:
        """Write a candidate into the live model; tensors that hold it already are left alone.

        The checkpoints are added in the order of their names, which is not part of a candidate's
        digest: equal digests mean equal bits.

        Raises:
            FloatingPointError: a weight is not finite (an overflow of a dtype); names the tensor.
                The model then holds parts of two candidates, until the next one is written.
            ValueError: the candidate is rounded to another dtype than this model's.
        """
        if candidate.dtype != str(self.dtype).removeprefix("torch."):
            raise ValueError(f"candidate in {candidate.dtype}, resident model in {self.dtype}")
        self._bring(candidate.sources)
        merges = self._merger.instructions(candidate, self._merged)
        due = [name for name in self._merged if self._holds.get(name) != merges[name]]
        places = [(name, self._live[name].device) for name in due]
        asked: list[tuple[str, torch.Tensor]] = []
        for name, part, found in self._settled.stream(places):
            self._holds.pop(name, None)  # until it is whole, it holds nothing
            out = self._live[name].data.view(-1)
            finite = self._merger.write(name, part, merges[name], found, out[part])
            if isinstance(finite, torch.Tensor):
                asked.append((name, finite))
            elif not finite:
                raise _not_finite(name)
            if part.stop == out.numel():
                self._holds[name] = merges[name]
        for name, finite in asked:  # all is under way: now to wait for the GPU costs nothing
            if not finite:
                del self._holds[name]
                raise _not_finite(name)

    def forget(self) -> None:
        """Make every tensor afresh next time: call it when someone else wrote into the model."""
        self._holds.clear()

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


def _not_finite(tensor: str) -> FloatingPointError:
    return FloatingPointError(f"tensor '{tensor}' of the candidate is not finite")


def weights_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest_of(digest, name, tensors[name])
    return digest.hexdigest()


def digest_of(digest: Any, name: str, tensor: torch.Tensor) -> None:
    """Take one tensor into a digest of weights."""
    tensor = tensor.detach().cpu().contiguous()
    digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # no copy


def pick_device(wanted: str) -> torch.device:
    """The device that the study names; ``auto`` is the GPU where there is one.

    Of a model that is spread, the first: where its inputs go.

    Raises:
        UserError: the device is not there.
    """
    if wanted in ("auto", SPREAD):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.partition(":")[0] not in _DEVICES:
        raise UserError(
            f"device '{wanted}' is none (have: auto, {', '.join(_DEVICES)}); set `device: auto`"
        )
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device '{wanted}' cannot be used ({reason}); set `device: auto`"
        ) from None
    return device


def load_model(folder: Path, dtype: torch.dtype | str, trust_remote_code: bool) -> PreTrainedModel:
    """A model by transformers; dtype ``auto`` is that of its config.json.

    Raises:
        UserError: transformers does not know it, or its files do not fit its config.json.
    """
    if (folder / "generation_config.json").is_file():  # transformers passes over a damaged one
        read_json(folder / "generation_config.json")
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=trust_remote_code
        )
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever a model's settings make of its code)
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise MemoryError(one_line(str(error))) from None
        if "Unrecognized configuration class" in str(error):
            kind = read_json(folder / "config.json").get("model_type")
            raise UserError(
                f"{folder}: transformers has no language model of type '{kind}' (AutoModelForCausalLM); where it is "
                f"multimodal, save the text model that is part of it by itself, for all inputs, and give that"
            ) from None
        if "ignore_mismatched_sizes" in str(error):
            raise UserError(
                f"{folder}: transformers cannot load it: its weights have other shapes than its config.json says "
                f"(vocab_size, say), or an expert is missing; correct that file, or save the model anew"
            ) from None
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{folder}: transformers cannot load it ({reason})") from None
    finally:
        transformers.logging.set_verbosity(level)
    return model


def tokenizer_of(sources: Sources, trust_remote_code: bool) -> Any:
    """The tokenizer of all candidates: the base's, or that of the merged vocabulary."""
    if sources.union is None:
        return load_tokenizer(sources.base.folder, trust_remote_code)
    with tempfile.TemporaryDirectory(prefix="exme-") as folder:
        sources.union.write(Path(folder))
        shutil.copyfile(sources.base.folder / "config.json", Path(folder) / "config.json")
        return load_tokenizer(Path(folder), trust_remote_code)


def load_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """A tokenizer by transformers; a UserError where there is none."""
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # noqa: BLE001  (the library raises plain Exception, too)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{folder}: transformers finds no tokenizer there ({reason})") from None
