"""What an engine's log says of its end, in words of the study file.

vLLM's processes print why they end; the error that reaches us says only that they did.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from exme.tasks import UserError

from .settings import VllmSettings

# The line that names an exception, behind what vLLM's logger puts in front.
_EXCEPTION = re.compile(r"(?:^|\] )\s*((?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt)): (.+)$")
_MEMORY = re.compile(
    r"out of memory|available memory|free memory|no available memory|kv cache is needed|kv cache memory|less than desired|cannot allocate",
    re.IGNORECASE,
)
_WRAPPERS = (
    "Engine core initialization failed",
    "EngineCore",
    "WorkerProc initialization failed",
    "Engine process failed",
)


class EngineDied(UserError):
    """vLLM's processes have ended; another engine may be started."""


def explain_start(error: BaseException, log: Path, settings: VllmSettings) -> UserError:
    """Why an engine did not start, and what to change.

    Args:
        log: to which its processes printed.
    """
    reasons = [str(error).strip() or type(error).__name__, *_reasons(log)]
    told = [r for r in reasons if not any(w in r for w in _WRAPPERS)] or reasons
    memory = next((r for r in told if _MEMORY.search(r)), None)
    reason = " ".join((memory or told[0]).split())[:600]
    if memory is not None:
        keys = [
            f"vllm.max_model_len ({settings.max_model_len or 'not set'})",
            f"max_num_seqs ({settings.max_num_seqs})",
        ]
        if settings.gpu_memory_utilization is not None:
            keys.insert(0, f"vllm.gpu_memory_utilization ({settings.gpu_memory_utilization:g})")
        return UserError(
            f"engine: vllm: too little memory to start ({reason}); lower {', '.join(keys)}, or raise "
            f"tensor_parallel_size ({settings.tensor_parallel_size}); the engine's log is {log}"
        )
    return UserError(f"engine: vllm did not start ({reason}); its log is {log}")


def _reasons(log: Path) -> Iterator[str]:
    """Exceptions in a log, the first one first: the others follow from it."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines[-4000:]:
        found = _EXCEPTION.search(line)
        if found:
            yield f"{found[1]}: {found[2]}"
