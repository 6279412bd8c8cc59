"""Attacks on the sandbox. Each program passes only if its attack succeeds, so none may pass.

Each also fails for a stated reason, so that a slip in an attack does not look like a wall.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.sandbox.run import Limits, Sandbox, Verdict
from tests.helpers.sandbox.attacks import OUTWARD, PREAMBLE, attacks
from tests.helpers.sandbox.elsewhere import run_elsewhere

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of Linux")

# Time enough on a busy machine for all but the attacks that are stopped by it: to fill the memory
# can take more than a second.
LIMITS = Limits(wall_seconds=120, cpu_seconds=30, memory_bytes=1 << 29, disk_bytes=4 << 20)
SHORT = replace(LIMITS, cpu_seconds=1)

# The tests that follow such a program always fail: it must not pass all the same.
VERDICT = """
# leaving with status 0: left with status 0
os._exit(0)
# leaving with our own status: raised
os._exit(97)
# sys.exit(0): SystemExit
sys.exit(0)
# raising SystemExit: SystemExit
raise SystemExit
# raising what ends loops: StopIteration
raise StopIteration
# raising what ends generators: GeneratorExit
raise GeneratorExit
# an interrupt: KeyboardInterrupt
raise KeyboardInterrupt
# leaving by C: left with status|signal
libc.exit(0)
# leaving a thread: left with status|signal|wall
libc.pthread_exit(0)
# leaving at the end: AssertionError
import atexit
atexit.register(os._exit, 0)
assert False
# killing itself: signal SIGKILL
os.kill(os.getpid(), 9)
# printing that it passed: AssertionError
print('passed')
assert False
# answering in our place: AssertionError
import json, struct
answer = json.dumps({'passed': True, 'reason': 'passed', 'output': ''}).encode()
for d in range(3000):
 try: os.write(d, struct.pack('<I', len(answer)) + answer)
 except OSError: pass
assert False
# closing every descriptor: raised|left with status
os.closerange(0, 5000)
assert False
# closing its output: raised
sys.stdout.close(); sys.stderr.close()
assert False
# stopping itself: STOPPED
os.kill(os.getpid(), signal.SIGSTOP)
# stopping by another way: STOPPED|AssertionError
signal.raise_signal(signal.SIGTSTP)
assert False
# stopping from a thread: STOPPED|can't start
_thread.start_new_thread(os.kill, (os.getpid(), signal.SIGSTOP))
time.sleep(5)
assert False
# stopping in a signal handler: STOPPED
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGSTOP))
signal.setitimer(signal.ITIMER_REAL, 0.01)
time.sleep(1)
assert False
# stopping in our flush: STOPPED
sys.stdout.flush = lambda: os.kill(os.getpid(), signal.SIGSTOP)
assert False
# stopping in our hook: STOPPED
sys.unraisablehook = lambda _: os.kill(os.getpid(), signal.SIGSTOP)
assert False
# stopping in our hook, by C alone: STOPPED
stop = map(os.kill, [os.getpid()], [signal.SIGSTOP])
sys.unraisablehook = functools.partial(sum, stop)
assert False
# stopping when things are freed: STOPPED|AssertionError
class Last:
 def __del__(self): os.kill(os.getpid(), signal.SIGSTOP)
x = Last()
assert False
# calling what our frame holds: STOPPED
held = sys._getframe(1).f_locals
held['stop'](held['itself'], held['signal_stop'])
# running an empty program in our way: STOPPED
sys._getframe(1).f_globals['_run_program']('', None)
# running it after us: STOPPED|AssertionError|signal
program = sys._getframe(1).f_globals
again = lambda *_: program['kernel'].exit_through(
 functools.partial(program['_run_program'], ''), 0)
sys.unraisablehook = os._exit = again
assert False
# replacing what we call: raised|STOPPED
ours = sys._getframe(1).f_globals
for name in list(ours):
 if callable(ours[name]): ours[name] = lambda *_: os.kill(os.getpid(), signal.SIGSTOP)
ours['os']._exit = ours['RAISED'] = ours['suppress'] = None
assert False
# changing our frame's variables: AssertionError
held = sys._getframe(1).f_locals
for name in list(held): held[name] = None
assert False
# jumping in our frame: raised|STOPPED|TIME
def trace(frame, event, _):
 for line in range(frame.f_code.co_firstlineno, frame.f_code.co_firstlineno + 40):
  try: frame.f_lineno = line
  except ValueError: continue
  break
 return trace
frame = sys._getframe(1)
while frame: frame.f_trace = trace; frame = frame.f_back
sys.settrace(trace)
assert False
# hunting for the keeper: STOPPED|AssertionError|left with
for thing in gc.get_objects():
 if getattr(thing, '__name__', '') in ('_run_program', '_explain', '_send', 'main', '_leave'):
  for arguments in ((), ('', None), ({'passed': True, 'reason': 'passed', 'output': ''},)):
   try: thing(*arguments)
   except Exception: pass
assert False
# hunting for a secret: AssertionError
found = [x for x in gc.get_objects() if isinstance(x, (str, bytes)) and 'passed' in str(x)]
for module in list(sys.modules.values()):
 for name, value in list(vars(module).items()):
  if isinstance(value, (str, bytes)) and len(value) > 7:
   for d in (0, 1, 2):
    try: os.write(d, value.encode() if isinstance(value, str) else value)
    except OSError: pass
assert False
# other builtins: AssertionError
import builtins
builtins.AssertionError = builtins.BaseException = type('Quiet', (Exception,), {})
builtins.exec = builtins.compile = builtins.print = lambda *_: None
assert False
# other builtins for itself: ZeroDivisionError|NameError
__builtins__ = {}
raise ZeroDivisionError
# a scope that hides the test: NameError
globals().clear()
check(1)
# a thread left running: AssertionError|can't start
_thread.start_new_thread(time.sleep, (60,))
assert False
# faulthandler: signal SIG
import faulthandler
faulthandler._sigsegv()
# another flavour of death: signal SIG
ctypes.string_at(8)
"""

# How the sandbox is run: in this process, or in another's and as whom.
HERE = {
    "every wall": {},
    "without user namespaces": {"namespaces": False},
    "without Landlock": {"landlock": False},
}
ELSEWHERE: dict[str, dict[str, Any]] = {
    "as an ordinary user": {"user": 65534},
    "as an ordinary user without user namespaces": {"user": 65534, "namespaces": False},
    "in a container without user namespaces": {
        "within": (
            *("unshare", "--user", "--map-root-user", "sh", "-c"),
            'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"',
            "sh",
        )
    },
}
SLOW = (
    "every wall",
    "as an ordinary user without user namespaces",
)  # the others skip endless loops
ATTACKS = attacks(OUTWARD + VERDICT)


@dataclass(frozen=True)
class Outside:
    """What the attacks are after."""

    home: Path
    file: Path
    tcp: socket.socket
    unix: socket.socket
    abstract: socket.socket
    victim: subprocess.Popen[bytes]

    def names(self) -> str:
        return (
            f"HOME, OUTSIDE, VICTIM, PARENT = {str(self.home)!r}, {str(self.file)!r},"
            f" {self.victim.pid}, {os.getpid()}\n"
            f"TCP, UNIX = {self.tcp.getsockname()[1]}, {self.unix.getsockname()!r}\n"
            f"ABSTRACT = {self.abstract.getsockname()[1:].decode()!r}\n"
        )


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    with (
        tempfile.TemporaryDirectory(prefix="exme-victim-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        home = Path(folder)
        home.chmod(0o777)  # open to all: permissions must not be what protects it
        (home / ".ssh").mkdir()
        (home / ".ssh" / "id_rsa").write_text("a secret key")
        file = home / "study.yaml"
        file.write_text("a study")
        file.chmod(0o666)
        patch.setenv("EXME_SECRET", "a secret variable")
        patch.setenv("HOME", str(home))
        unix, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        unix.bind(str(home / "socket"))
        (home / "socket").chmod(0o777)
        abstract.bind(f"\0exme-victim-{os.getpid()}")
        with (
            socket.create_server(("127.0.0.1", 0)) as tcp,
            unix,
            abstract,
            subprocess.Popen(["sleep", "600"]) as victim,
        ):
            for listener in (tcp, unix, abstract):
                listener.listen()
                listener.setblocking(False)
            yield Outside(home, file, tcp, unix, abstract, victim)
            victim.kill()


QUICK = ("every wall", "as an ordinary user")  # the others in `make test-all`
WALLS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in (*HERE, *ELSEWHERE)
]


@pytest.fixture(scope="module", params=WALLS)
def verdicts(request: pytest.FixtureRequest, outside: Outside) -> dict[str, Verdict]:
    chosen = ATTACKS
    if request.param not in SLOW:
        chosen = {name: attack for name, attack in ATTACKS.items() if "time" not in attack[1]}
    found: dict[str, Verdict] = {}
    for limits in (SHORT, LIMITS):
        programs = {
            name: PREAMBLE + outside.names() + source
            for name, (source, pattern) in chosen.items()
            if ("time" in pattern) == (limits is SHORT)
        }
        found |= zip(programs, run(request.param, [*programs.values()], limits), strict=True)
    return found


def run(wall: str, programs: list[str], limits: Limits) -> list[Verdict]:
    """Verdicts of programs in the sandbox of one entry of HERE or ELSEWHERE."""
    if wall in ELSEWHERE:
        return run_elsewhere(programs, limits, **ELSEWHERE[wall])[1]
    with Sandbox(**HERE[wall]) as sandbox:
        return sandbox.run_many(programs, limits, workers=2)


def test_no_attack_passes(verdicts):
    assert [name for name, verdict in verdicts.items() if verdict.passed] == []


def test_every_attack_fails_for_the_reason_it_should(verdicts):
    others = {
        name: (verdict.reason, verdict.output[-200:])
        for name, verdict in verdicts.items()
        if not re.search(ATTACKS[name][1], verdict.reason)
    }
    assert others == {}


def test_what_stands_outside_is_as_it_was(verdicts, outside):
    assert sorted(p.name for p in outside.home.iterdir()) == [".ssh", "socket", "study.yaml"]
    assert outside.file.read_text() == "a study"
    assert outside.file.stat().st_mode & 0o777 == 0o666
    assert outside.file.stat().st_mtime > 0
    assert (outside.home / ".ssh" / "id_rsa").read_text() == "a secret key"
    assert outside.victim.poll() is None
    for listener in (outside.tcp, outside.unix, outside.abstract):
        with pytest.raises(BlockingIOError):
            listener.accept()
