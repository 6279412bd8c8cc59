"""Telling whoever waits for an engine that its processes have ended: vLLM's synchronous client lets them wait for ever.

Source: vLLM 0.32, `SyncMPClient`: its monitor marks the engine as dead, which later calls see; a call or an answer
that is waited for at that moment is never given up.
"""

from __future__ import annotations

import contextlib
import threading
from multiprocessing import connection
from typing import Any


def watch(client: Any) -> None:
    """Have calls and answers that are waited for raise `EngineDeadError` when the engine's process ends."""
    from vllm.v1.engine.exceptions import EngineDeadError  # noqa: PLC0415

    sentinels = client.resources.engine_manager.sentinels()

    def wait() -> None:
        connection.wait(sentinels)
        client.resources.engine_dead = True  # from here on no call is begun
        for waiting in list(client.utility_results.values()):
            with contextlib.suppress(Exception):  # (it is answered)
                waiting.set_exception(EngineDeadError())
        client.outputs_queue.put(EngineDeadError())

    threading.Thread(target=wait, name="exme-engine", daemon=True).start()
