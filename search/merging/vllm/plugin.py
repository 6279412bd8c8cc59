"""What vLLM calls in each of its processes, by the entry point ``vllm.general_plugins``.

It makes the weight-transfer backend ``exme`` known, and ties processes that were started for an engine to
the one that started them: they do not outlive it, Ctrl-C reaches the one at the terminal alone, and what they
print goes to the engine's log.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import connection

BACKEND = "exme"
# Set to 1, linear weights on a CPU stay as they are read instead of being packed for oneDNN: the layout that GPUs
# have, for tests and measurements.
UNPACKED = "EXME_VLLM_UNPACKED"
LOG = "EXME_VLLM_LOG"  # as evaluators.vllm.engine sets it
# Seconds in which a process may end by itself, and tidy up, when the one that started it has ended.
GRACE = 5.0

_TRANSFER = "exme.search.merging.vllm.transfer"


def register() -> None:
    """See the module; may be called more than once in a process."""
    from vllm.distributed.weight_transfer import WeightTransferEngineFactory  # noqa: PLC0415

    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, _TRANSFER, "ExmeTransfer")
    if os.environ.get(UNPACKED) == "1":
        _leave_unpacked()
    parent = multiprocessing.parent_process()
    if parent is not None:
        _follow(parent.sentinel)
        if os.environ.get(LOG):
            _print_to(os.environ[LOG])


def _leave_unpacked() -> None:
    from vllm import _custom_ops  # noqa: PLC0415
    from vllm.model_executor.layers import utils  # noqa: PLC0415

    _custom_ops._supports_onednn = False
    utils.check_cpu_sgl_kernel = lambda *_: False


def _follow(sentinel: int) -> None:
    """End this process when the one that started it has ended, however that ended."""
    with contextlib.suppress(OSError):  # it leads a session already
        os.setsid()

    def watch() -> None:
        connection.wait([sentinel])
        time.sleep(GRACE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="exme-parent", daemon=True).start()


def _print_to(file: str) -> None:
    """Have this process print to a file, whatever prints in it."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
