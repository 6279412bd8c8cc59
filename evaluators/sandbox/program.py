"""The fork that becomes a program: it gives up every right, then runs it.

How the keeper knows that a program ran to its end. The fork stops itself, runs the program, and
stops itself again; both times the keeper asks the kernel (ptrace) where its C stack stands. Only
there is it exactly as high: whatever a program calls, our own functions included, is called from
within `exec`, further down. All of this happens inside C's exit(), so that after an exception no
frame of ours runs again. There is no token to find, no descriptor to write to and no status to
return, and leaving early is not passing.
"""

import functools
import os
import random
import resource
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from exme.evaluators.sandbox import filter as call_filter, kernel, walls as wall

# No `from __future__` here: what `exec` compiles would inherit it.

RAISED = 97  # exit status after an exception; it decides the wording of the reason alone
_OPEN_FILES = 256
_OWN_PROCESSES = 2  # of the keeper, which count among its user's


def become_program(
    request: dict[str, Any], walls: wall.Walls, threads: bool, output: int
) -> NoReturn:
    """Give up every right, then run the program of a request.

    Args:
        request: the program and its limits.
        walls: those that the keeper stands behind.
        threads: whether the program may start threads.
        output: descriptor that it writes to, in place of standard output and error.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(walls.scratch)
    _limit(request, threads)
    kernel.renounce_privileges()
    if walls.ruleset is not None:
        kernel.landlock_restrict(walls.ruleset)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1024)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    random.seed(0)  # the same program has the same outcome
    kernel.filter_calls(call_filter.program(os.getpid(), threads))
    sys.unraisablehook = _explain
    kernel.exit_through(functools.partial(_run_program, request["source"]), RAISED)


def _limit(request: dict[str, Any], threads: bool) -> None:
    limits = {
        resource.RLIMIT_AS: request["memory"],
        resource.RLIMIT_CPU: request["cpu"],  # soft = hard: the kernel kills, nothing to catch
        resource.RLIMIT_FSIZE: request["disk"],
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if threads:
        limits[resource.RLIMIT_NPROC] = request["processes"] + _OWN_PROCESSES
    for kind, value in limits.items():
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            value = min(value, ceiling)
        resource.setrlimit(kind, (value, value))


def _run_program(source: str, _: object) -> None:
    """Stop; run the program; stop again.

    The reference is code_eval's ``exec(program, {})`` in a fresh process: passed iff it returns.

    Nothing here may run between an exception of the program's and the process's end: neither a
    handler, nor a line that a trace function could jump from, nor a loop that StopIteration ends.
    Python functions call each other without going down the C stack, so whatever of the program's
    is called from this frame stands where `stop` does.
    """
    stop, itself, signal_stop = os.kill, os.getpid(), signal.SIGSTOP
    trace, profile, flush = sys.settrace, sys.setprofile, sys.stdout.flush
    scope: dict[str, Any] = {}
    stop(itself, signal_stop)
    exec(source, scope)  # noqa: S102 - the purpose
    trace(None)
    profile(None)
    with suppress(BaseException):
        flush()
    stop(itself, signal_stop)


def _explain(given: Any) -> None:
    """Say what the program raised; `sys.unraisablehook`, as long as the program leaves it so."""
    with suppress(BaseException):
        sys.stdout.flush()
    line, step = 0, given.exc_traceback
    while step:
        line = step.tb_lineno if step.tb_frame.f_code.co_filename == "<string>" else line
        step = step.tb_next
    text = " ".join(f"{given.exc_type.__name__}: {given.exc_value}".split())[:300].rstrip(": ")
    sys.stderr.write(f"\nline {line}: {text}" if line else f"\n{text}")
    sys.stderr.flush()
