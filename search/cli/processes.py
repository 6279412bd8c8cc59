"""Starting several workers here: each a process with a GPU, or a share of the cores, of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, Queue

from exme.tasks import UserError

# Most workers that one command starts; more are a slip of the finger.
MOST = 256
# Seconds that workers get to give their trials back before they are killed.
PATIENCE = 30.0

# Lines that begin alike in so many characters say the same: shown once, whoever says it.
_SAME = 24

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_COMMAND = "from exme.search.cli.main import main; main()"


@dataclass(frozen=True)
class Share:
    """What one worker gets of the machine.

    Attributes:
        environment: what is changed in its environment.
        words: as people read it, e.g. ``GPU 0``.
    """

    environment: Mapping[str, str]
    words: str


def shares(
    count: int, gpus: Sequence[str], cores: int, environment: Mapping[str, str], each: int = 0
) -> list[Share]:
    """Divide a machine among workers.

    Args:
        count: how many workers.
        gpus: names of the GPUs, as ``CUDA_VISIBLE_DEVICES`` names them; workers take turns on them.
        cores: CPU cores that may be used; each worker gets its part as threads, one at least.
        environment: where the number of threads is set already, it stays.
        each: GPUs that a worker has to itself; 0 where workers may share one.

    Raises:
        UserError: workers that need GPUs of their own are more than there are.
    """
    threads = str(max(1, cores // count))
    given = {name: threads for name in _THREADS if name not in environment}
    # Threads that spin while they wait for each other starve those of the other workers.
    given |= {} if "OMP_WAIT_POLICY" in environment else {"OMP_WAIT_POLICY": "passive"}
    mine = environment.get(_THREADS[0], threads)
    words = f"{mine} CPU thread{'' if mine == '1' else 's'}"
    if not gpus:
        return [Share(given, words)] * count
    if each:
        if count * each > len(gpus):
            raise UserError(
                f"--workers {count}: {each} GPUs each (vllm.tensor_parallel_size) are {count * each}, there are "
                f"{len(gpus)}; start {len(gpus) // each or 'no more than one'}, or lower tensor_parallel_size"
            )
        groups = [gpus[i * each : (i + 1) * each] for i in range(count)]
        return [
            Share(
                {**given, "CUDA_VISIBLE_DEVICES": ",".join(own)},
                f"GPU{'s' if each > 1 else ''} {', '.join(own)}",
            )
            for own in groups
        ]
    turns = [gpus[i % len(gpus)] for i in range(count)]
    return [Share({**given, "CUDA_VISIBLE_DEVICES": gpu}, f"GPU {gpu}") for gpu in turns]


def visible_gpus(device: str) -> list[str]:
    """The GPUs that a study with this ``device`` may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if device not in ("auto", "cuda"):
        return []
    import torch  # noqa: PLC0415

    count = torch.cuda.device_count()
    named = [g.strip() for g in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if g.strip()]
    return named[:count] if named else [str(i) for i in range(count)]


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_workers(
    arguments: Sequence[str],
    parts: Sequence[Share],
    show: Callable[[str], None],
    command: Sequence[str] = (sys.executable, "-c", _COMMAND),
) -> list[int]:
    """Run workers until all have ended, and show their lines with their numbers in front.

    A worker that dies is not started again: the others take its trial up. Ctrl-C and SIGTERM are
    passed on once; workers then give back their running trials. They are killed when they do not,
    or when Ctrl-C comes again.

    Args:
        arguments: of ``exme``, e.g. ``["worker", "study.yaml"]``.
        parts: what each worker gets of the machine.
        show: writes a line.
        command: what runs ``exme``.
    Returns:
        Exit codes, negative for a signal.
    """
    if not 1 <= len(parts) <= MOST:
        raise UserError(f"--workers: expected 1 to {MOST}, found {len(parts)}")
    lines: Queue[tuple[int, str | None]] = Queue()
    workers = [_start([*command, *arguments], part) for part in parts]
    for number, worker in enumerate(workers, 1):
        threading.Thread(target=_relay, args=(number, worker, lines), daemon=True).start()
    try:
        _show(lines, len(workers), show)
    except BaseException:
        _stop(workers)
        raise
    codes = [worker.wait() for worker in workers]
    for number, code in enumerate(codes, 1):
        if code:
            show(f"[{number}] ended with {_reason(code)}; its trial is taken up again.")
    return codes


def _start(command: Sequence[str], part: Share) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env={**os.environ, **part.environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches them from here alone, once
    )


def _relay(
    number: int, worker: subprocess.Popen[str], lines: Queue[tuple[int, str | None]]
) -> None:
    assert worker.stdout is not None
    for line in worker.stdout:
        lines.put((number, line.rstrip()))
    lines.put((number, None))


def _show(lines: Queue[tuple[int, str | None]], running: int, show: Callable[[str], None]) -> None:
    said: set[str] = set()
    while running:
        try:
            number, line = lines.get(timeout=0.5)  # (so that a signal is heard)
        except Empty:
            continue
        if line is None:
            running -= 1
        elif line.startswith("#"):
            show(f"[{number}] {line}")
        elif line and (begin := line[:_SAME]) not in said:
            said.add(begin)
            show(f"[{number}] {line}")


def _stop(workers: Sequence[subprocess.Popen[str]]) -> None:
    kill = False
    try:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGINT)
        deadline = time.monotonic() + PATIENCE
        while any(w.poll() is None for w in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
    except KeyboardInterrupt:
        kill = True
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
        worker.wait()
    if kill:
        raise KeyboardInterrupt


def _reason(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def leave_with_parent(pause: float = 2.0) -> None:
    """Have this process stop, as by Ctrl-C, when the one that started it is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(pause)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, name="exme-parent", daemon=True).start()
