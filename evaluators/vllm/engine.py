"""The engine vllm: lm-eval's `vllm` model over workers that merge candidates themselves.

Prefixes are shared by vLLM's own cache, which is emptied for each candidate; answers of earlier candidates are
drafts. What goes wrong in the engine's processes is told by what its log says.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exme.evaluators.fast.decoding import DraftStore, document_key
from exme.tasks import UserError

from .available import check_installed, why_not_supported
from .logs import EngineDied, explain_start
from .proposer import MOST, prompt_key
from .settings import VllmSettings, check_model, longest_sequence, refuse_unknown
from .watch import watch

Prompts = Sequence[Sequence[int]]  # tokens of each
# The names by which vLLM finds what is ours, in each of its processes.
BACKEND = "exme"
_EXTENSION = "exme.evaluators.vllm.extension.WorkerExtension"
_PROPOSER = "exme.evaluators.vllm.proposer.Proposer"
PATIENCE = 60.0  # seconds for requests that were cut off to leave the cache
GRACE = 30.0  # and for the engine's processes to end and tidy up, before they are killed
LOG = "EXME_VLLM_LOG"  # where the plugin sends what the engine's processes print


@dataclass(frozen=True)
class Start:
    """What an engine is started with.

    Attributes:
        folder: of the model: its config.json, tokenizer and weights.
        config: content of config.json.
        dtype: in which the model computes, as torch names it.
        device: ``cpu`` or ``cuda``.
        trust_remote_code: run the model code that a checkpoint brings along.
        cache_bytes: size of the cache of keys and values; None leaves it to `gpu_memory_utilization`.
        utilization: share of each GPU's memory for weights and cache.
        log: file to which the engine's processes print.
    """

    folder: Path
    config: Mapping[str, Any]
    dtype: str
    device: str
    trust_remote_code: bool
    cache_bytes: int | None
    utilization: float
    log: Path


class VllmEngine:
    """An engine of vLLM, and lm-eval's model over it.

    Args:
        drafts: earlier candidates' answers.

    Raises:
        UserError: vLLM cannot be used here, does not know the model, or did not start; says what to change.
    """

    def __init__(self, start: Start, settings: VllmSettings, drafts: DraftStore) -> None:
        check_installed()
        check_model(start.config, settings)
        _environment(start, settings)
        reason = why_not_supported(start.config)
        if reason:
            raise UserError(f"engine: vllm: {reason}; use `engine: auto`, `fast` or `stock`")
        self._drafts, self._log = drafts, start.log
        self._uses_drafts = settings.drafts
        self.max_length = longest_sequence(start.config, settings)
        arguments = engine_arguments(start, settings)
        from exme.evaluators.harness import VllmModel  # noqa: PLC0415  (imports vLLM)

        try:
            self.model = VllmModel(
                str(start.folder), before=self._before, after=self._after, **arguments
            )
        except Exception as error:  # noqa: BLE001  (whatever a model or a setting makes of vLLM)
            raise explain_start(error, start.log, settings) from None
        watch(self.model.model.llm_engine.engine_core)
        self.tokenizer = self.model.tokenizer
        self.call("exme_watch_logits")

    # What the judge asks (`harness.Engine`) ------------------------------------------------------

    def generate_until(self, requests: list[Any]) -> list[str]:
        """See `harness.Engine.generate_until`."""
        with self._alive():
            answers: list[str] = self.model.generate_until(requests)
        return answers

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """See `harness.Engine.loglikelihood`."""
        with self._alive():
            found: list[tuple[float, bool]] = self.model.loglikelihood(requests)
        return found

    def count_tokens(self, text: str) -> int:
        """See `harness.Engine.count_tokens`."""
        return int(self.model.count_tokens(text))

    # What a search asks --------------------------------------------------------------------------

    def begin(self, sources: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Have the workers read what they are to merge; how each will write candidates.

        Args:
            sources: see `search.merging.vllm.transfer.Begin`.

        Raises:
            UserError: a source cannot be merged.
        """
        self.call("init_weight_transfer_engine", dict(sources))
        reports = self.call("exme_report")
        for report in reports:
            if report.get("refused"):
                raise UserError(report["refused"])
        return reports

    def update(self, candidate: Mapping[str, Any]) -> None:
        """Have the workers hold a candidate, and forget what they computed with the last.

        Raises:
            FloatingPointError: a weight is not finite; names the tensor.
        """
        self.call("start_weight_update")
        self.call("update_weights", {"candidate": dict(candidate)})
        self.call("finish_weight_update")
        self._forget_prefixes()
        for failure in self.call("exme_failure"):
            if failure:
                raise FloatingPointError(failure)

    def _forget_prefixes(self) -> None:
        """Empty the cache; answers that were cut by a stop string may be in it for a moment longer."""
        deadline = time.monotonic() + PATIENCE
        with self._alive():
            while not self.model.model.reset_prefix_cache():
                if time.monotonic() > deadline:
                    raise EngineDied(
                        f"vLLM's cache could not be emptied in {PATIENCE:.0f} s, see {self._log}"
                    )
                time.sleep(0.01)

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every worker by its name; their answers by rank.

        Raises:
            EngineDied: the engine's processes have ended.
            RuntimeError: a worker raised.
        """
        with self._alive():
            try:
                found: list[Any] = self.model.model.collective_rpc(method, args=arguments)
            except EngineDied:
                raise
            except Exception as error:
                if type(error).__name__ == "EngineDeadError":
                    raise
                raise RuntimeError(str(error)) from None
        return found

    def check_logits(self) -> None:
        """Refuse what was answered since the last check, with logits that are not finite.

        Raises:
            FloatingPointError: a logit was NaN or infinity.
        """
        if not all(self.call("exme_logits_finite")):
            raise FloatingPointError("the model's logits are not finite")

    def token_logprobs(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probability (nats) of every token of the prompts but the first."""
        from vllm import SamplingParams, TokensPrompt  # noqa: PLC0415

        with self._alive():
            outputs = self.model.model.generate(
                [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts],
                SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=1, detokenize=False),
                use_tqdm=False,
            )
        return [
            [
                found[token].logprob
                for token, found in zip(p[1:], o.prompt_logprobs[1:], strict=True)
            ]
            for p, o in zip(prompts, outputs, strict=True)
        ]

    def close(self) -> None:
        """End the engine's processes."""
        with contextlib.suppress(Exception):  # they may have ended
            self.model.model.llm_engine.engine_core.shutdown(timeout=GRACE)

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        """Tell that the engine's processes have ended from any other error."""
        try:
            yield
        except Exception as error:
            if type(error).__name__ != "EngineDeadError":  # vLLM's, which is not imported here
                raise
            raise EngineDied(f"vLLM's processes have ended, see {self._log}") from None

    # Drafts --------------------------------------------------------------------------------------

    def _before(self, prompts: Prompts, is_greedy: bool) -> None:
        if not self._uses_drafts:
            return
        known: dict[str, tuple[int, Prompts]] = {}
        if is_greedy:
            self._drafts.refresh()
            known = {prompt_key(p): (len(p), self._drafts.answers(_document(p))) for p in prompts}
        taken = [(n, key, answers) for key, (n, answers) in known.items()]
        self.call("exme_take_drafts", taken, is_greedy)

    def _after(self, prompts: Prompts, is_greedy: bool, answers: Prompts) -> None:
        if not self._uses_drafts or not is_greedy:
            return
        for prompt, answer in zip(prompts, answers, strict=True):
            self._drafts.add(_document(prompt), list(answer))
        self._drafts.save()


def _document(prompt: Sequence[int]) -> str:
    """A prompt in the store: whatever ends its answer, another answer to it is a draft."""
    return document_key(prompt, (), 0)


def engine_arguments(start: Start, settings: VllmSettings) -> dict[str, Any]:
    """What vLLM is told.

    Raises:
        UserError: the study passes an argument that this vLLM does not have.
    """
    from vllm.config import WeightTransferConfig  # noqa: PLC0415
    from vllm.config.logging import LoggingConfig  # noqa: PLC0415
    from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415

    refuse_unknown(settings.engine_args, list(EngineArgs.__dataclass_fields__))
    arguments: dict[str, Any] = {
        "dtype": start.dtype,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "gpu_memory_utilization": start.utilization,
        "max_model_len": longest_sequence(start.config, settings),
        "max_num_seqs": settings.max_num_seqs,
        "trust_remote_code": start.trust_remote_code,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        # (it would have this process print, too; the engine's own print as they are imported)
        "logging_config": LoggingConfig(configure_logging=False, pylogging_config_file=None),
        "weight_transfer_config": WeightTransferConfig(backend=BACKEND),
        "worker_extension_cls": _EXTENSION,
    }
    if start.cache_bytes is not None:
        arguments["kv_cache_memory_bytes"] = start.cache_bytes
    if start.device == "cpu":
        arguments["enforce_eager"] = True  # (compiled bfloat16 gave nonsense on CPUs)
    if settings.drafts:
        arguments["speculative_config"] = {
            "method": "custom_class",
            "model": _PROPOSER,
            "num_speculative_tokens": MOST,
        }
    return arguments | dict(settings.engine_args)


def _environment(start: Start, settings: VllmSettings) -> None:
    """What vLLM reads from the environment, as long as nobody has set it."""
    # A process that is forked believes that its plugins are loaded, and ours would not be asked.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ[LOG] = str(start.log)
    if start.device == "cpu" and settings.tensor_parallel_size > 1:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        parts = settings.tensor_parallel_size
        if len(cores) >= parts:
            given = "|".join(",".join(map(str, cores[i::parts])) for i in range(parts))
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", given)
