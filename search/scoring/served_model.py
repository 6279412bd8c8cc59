"""A model that vLLM serves: its workers merge candidates, lm-eval's own `vllm` model class asks."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch

from exme.evaluators.fast import DraftStore
from exme.evaluators.harness import Engine, Judge
from exme.evaluators.vllm import (
    PROMPTS,
    TOKENS,
    Plan,
    Start,
    VllmEngine,
    check_lengths,
    compare,
    gib,
    longest_sequence,
    plan,
    reference_logprobs,
    shape_of,
)
from exme.search.merging import Candidate, load_model, tokenizer_of
from exme.search.merging.folders import write_model
from exme.search.merging.sources import Sources
from exme.search.study import StudyFile
from exme.tasks import UserError

from .precision import Precision

LOG = "vllm.log"
# Of a CPU's memory that is free: the cache has no use for more.
_CPU_SHARE, _CPU_MOST = 0.25, 8 * 2**30


class ServedModel:
    """See `LiveModel`.

    Args:
        drafts: file of earlier candidates' answers; the engine's log is beside it. None keeps none.

    Raises:
        UserError: vLLM cannot serve this model here; says what to change.
    """

    def __init__(
        self, study: StudyFile, sources: Sources, precision: Precision, drafts: Path | None
    ) -> None:
        self.sources, self.precision = sources, precision
        self._trust = study.trust_remote_code
        tokenizer_of(sources, study.trust_remote_code)  # says what is wrong with one in our words
        self._scratch = Path(tempfile.mkdtemp(prefix="exme-vllm-"))
        atexit.register(shutil.rmtree, self._scratch, ignore_errors=True)
        self._settings = study.vllm
        divided = plan_of(study, sources, precision)
        on_gpu = precision.device.startswith("cuda")
        longest = longest_sequence(sources.base.config, self._settings)
        self.folder = self._model_folder()
        self._start = start = Start(
            folder=self.folder,
            config=sources.base.config,
            dtype=precision.compute,
            device="cuda" if on_gpu else "cpu",
            trust_remote_code=study.trust_remote_code,
            cache_bytes=None if divided is not None else self._cache_on_cpu(longest),
            utilization=divided.utilization if divided is not None else 0.5,
            log=(drafts.parent if drafts is not None else self._scratch) / LOG,
        )
        start.log.unlink(missing_ok=True)
        served = VllmEngine(start, self._settings, DraftStore(drafts))
        self.served = served
        self.engine: Engine = served
        self.engine_name = "vllm"
        self.reference = served.model
        union = sources.union
        self.rows = sources.base.config["vocab_size"] if union is None else union.rows
        self.tokenizer: Any = served.tokenizer
        self.max_length = served.max_length
        self.apply_chat_template: Callable[..., str] = served.model.apply_chat_template
        reports = served.begin(
            {
                "base": str(sources.base.folder),
                "checkpoints": {n: str(c.folder) for n, c in sources.every.items()},
                "union": sources.union is not None,
                "dtype": precision.dtype,
                # (of more checkpoints than are merged at once none is held)
                "residence": "mapped" if sources.others else study.residence,
            }
        )
        self.told: Sequence[str] = [_describe(reports)]
        if divided is not None:
            self.told = [*self.told, divided.told(self._settings.tensor_parallel_size)]

    def _model_folder(self) -> Path:
        """What vLLM loads: the base, or one that is written with the merged vocabulary."""
        if self.sources.union is None:
            return self.sources.base.folder
        folder = self._scratch / "base"
        folder.mkdir()
        write_model(folder, self.sources, self._base, code=self._trust)
        return folder

    @property
    def _base(self) -> Candidate:
        zeros = dict.fromkeys(self.sources.checkpoints, 0.0)
        return Candidate(zeros, "exme", self.precision.dtype, self.sources.fingerprints)

    def _cache_on_cpu(self, longest: int) -> int:
        itemsize: int = getattr(torch, self.precision.compute).itemsize
        per_token = shape_of(self.sources.base.config, 0).cache_of_token(
            itemsize, self._settings.tensor_parallel_size
        )
        free = psutil.virtual_memory().available
        wanted = per_token * longest * min(self._settings.max_num_seqs, 32)
        return int(max(per_token * longest * 2, min(wanted, _CPU_SHARE * free, _CPU_MOST)))

    def started(self, folder: Path) -> Start:
        """What an engine for the model in another folder is started with."""
        return replace(self._start, folder=folder)

    def take_in(self, candidate: Candidate) -> None:
        """See `LiveModel.take_in`."""
        if candidate.dtype != self.precision.dtype:
            raise ValueError(f"candidate in {candidate.dtype}, engine in {self.precision.dtype}")
        self.served.update(candidate.to_json())

    def begin(self) -> None:
        """See `LiveModel.begin`."""
        self.served.call("exme_logits_finite")

    def check(self) -> None:
        """See `LiveModel.check`."""
        self.served.check_logits()

    def probe(self, judges: Sequence[Judge]) -> None:
        """See `LiveModel.probe`; the base is in the engine afterwards."""
        try:
            self.told = [*self.told, *self.check_room(judges)]
        except UserError:
            self.close()
            raise
        prompts = [p for judge in judges if judge.split == "search" for p in judge.prompts]
        encoded = [
            self.tokenizer(p)["input_ids"][-min(TOKENS, self.max_length - 1) :] for p in prompts
        ]
        chosen = [ids for ids in encoded if len(ids) > 1][:PROMPTS]
        elements = sum(spec.elements for spec in self.sources.base.tensors.values())
        free = 0.7 * psutil.virtual_memory().available
        fits = [d for d in ("float32", self.precision.dtype) if elements * _itemsize(d) < free]
        if not chosen or not fits:
            why = f"{gib(free)} of memory are too little" if chosen else "there are no prompts"
            self.told = [*self.told, f"vLLM was not compared with transformers: {why}."]
            return
        self.take_in(self._base)
        ours = self.served.token_logprobs(chosen)
        base = load_model(self.folder, getattr(torch, fits[0]), self._trust).eval()
        theirs = reference_logprobs(base, chosen)
        found = compare(ours, theirs)
        if not found.within(self.precision.compute):
            self.close()
            raise UserError(
                f"engine: vllm does not compute what the base says: {found.told(self.precision.compute)}; "
                f"try `vllm: {{dtype: float32}}` or `vllm: {{engine_args: {{enforce_eager: true}}}}`, or another engine"
            )
        self.told = [
            *self.told,
            f"vLLM agrees with transformers: {found.told(self.precision.compute)}.",
        ]

    def check_room(self, judges: Sequence[Judge]) -> Sequence[str]:
        """See `LiveModel.check_room`."""
        config = self.sources.base.config
        cut = [check_lengths(j, self.reference, config, self._settings) for j in judges]
        return [line for line in cut if line]

    def close(self) -> None:
        """See `LiveModel.close`."""
        self.served.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def plan_of(study: StudyFile, sources: Sources, precision: Precision) -> Plan | None:
    """How a GPU's memory is divided; None where there is none.

    Raises:
        UserError: the model does not fit; says how many GPUs it takes.
    """
    if not precision.device.startswith("cuda"):
        return None
    gpu = torch.cuda.get_device_properties(precision.device).total_memory
    return checked_plan(study, sources, precision, gpu)


def checked_plan(study: StudyFile, sources: Sources, precision: Precision, gpu: int) -> Plan:
    """The division of a GPU of so many bytes; errors: see `plan_of`."""
    settings = study.vllm
    config = sources.base.config
    elements = sum(spec.elements for spec in sources.base.tensors.values())
    found = plan(
        shape_of(config, elements),
        itemsize=_itemsize(precision.compute),
        sources=sources.bytes,
        gpu=gpu,
        parts=settings.tensor_parallel_size,
        longest=longest_sequence(config, settings),
        utilization=settings.gpu_memory_utilization,
        residence=study.residence,
    )
    if not found.fits:
        raise UserError(
            f"engine: vllm: {gib(found.weights)} of weights and a cache for {longest_sequence(config, settings)} "
            f"tokens do not fit into a GPU of {gib(gpu)}; raise vllm.tensor_parallel_size "
            f"({settings.tensor_parallel_size}), or lower vllm.max_model_len"
        )
    return found


def _itemsize(dtype: str) -> int:
    found: int = getattr(torch, dtype).itemsize
    return found


def _describe(reports: Sequence[dict[str, Any]]) -> str:
    """How candidates are written, as the workers say."""
    first = reports[0]
    size = gib(sum(report["bytes"] for report in reports))
    each = f" by each of {len(reports)} workers" if len(reports) > 1 else ""
    if first["path"] == "in place":
        places = {
            "device": "the model's own memory",
            "host": "the host's memory",
            "mapped": "files on disk",
        }
        return f"Candidates are merged in place{each}; their sources, {size}, are in {places[first['place']]}."
    return (
        f"Candidates are merged from files ({size}) and loaded{each}, not in place: {first['why']}."
    )
