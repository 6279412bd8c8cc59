"""What the sandbox asks of Linux and Python's standard library does not offer, through ctypes.

Thin: one function per request, OSError with the request's name when the kernel refuses. Imported
only in the sandbox's own processes.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from exme.evaluators.sandbox import filter as call_filter

NEW_USER, NEW_MOUNT, NEW_PID = 0x10000000, 0x00020000, 0x20000000
NEW_NETWORK, NEW_IPC, NEW_UTS = 0x40000000, 0x08000000, 0x04000000

READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC, REMOUNT = 1, 2, 4, 8, 32
NO_ATIME, NO_DIR_ATIME, BIND, RECURSIVE = 1024, 2048, 4096, 16384
PRIVATE, REL_ATIME = 1 << 18, 1 << 21
_ST_REL_ATIME = 4096  # statvfs's flags equal mount's, but for this one
_DETACH = 2

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 1, 4, 8
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3, _CAPABILITIES = 0x20080522, 64
_PTRACE_SEIZE, _PTRACE_INTERRUPT, _PTRACE_DETACH = 0x4206, 0x4207, 17
_PTRACE_GETREGSET, _NT_PRSTATUS = 0x4204, 1
_WAIT_ALL = 0x40000000

# On x86_64, on aarch64.
_SYSCALLS = {"pivot_root": (155, 41), "capget": (125, 90), "capset": (126, 91)}
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
# Stack pointer and instruction pointer in struct user_regs_struct, as 8-byte words.
_REGISTERS = {"x86_64": (19, 16), "aarch64": (31, 32)}

# Landlock's rights to files, linux/landlock.h, and the interface version that brought each.
READ_FILE, READ_FOLDER, WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_TRUNCATE, _DEVICE_IOCTL, _REFER = 1 << 14, 1 << 15, 1 << 13
# Write, read, list, remove file and folder, make folder, file and symlink; no device, socket, fifo.
CHANGE = WRITE_FILE | READ_FILE | READ_FOLDER | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12
CHANGE |= _TRUNCATE | _REFER
_OF_FILES = WRITE_FILE | READ_FILE | _TRUNCATE | _DEVICE_IOCTL
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _DEVICE_IOCTL}
_NETWORK_RIGHTS, _SCOPES = 0b11, 0b11  # bind and connect TCP (4); abstract sockets, signals (6)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.ptrace.restype = ctypes.c_long


def _check(result: int, request: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{request}: {os.strerror(code)}")
    return result


def _syscall(request: str, number: int, *arguments: object) -> int:
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check(int(_libc.syscall(ctypes.c_long(number), *values)), request)


def _numbered(name: str) -> int:
    return _SYSCALLS[name][call_filter.machine() == "aarch64"]


def _prctl(request: str, option: int, *arguments: int) -> None:
    values = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(ctypes.c_int(option), *values), request)


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount something; empty strings stand for NULL."""
    texts = [os.fsencode(text) if text else None for text in (source, target, kind, options)]
    result = _libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3])
    _check(result, f"mount {kind or source or 'again'} at {target}")


def make_read_only(target: str) -> None:
    """Remount one mount read-only, keeping the flags that a user namespace may not clear."""
    given = os.statvfs(target).f_flag
    kept = given & (NO_EXEC | NO_ATIME | NO_DIR_ATIME)
    kept |= REL_ATIME if given & _ST_REL_ATIME else 0
    mount("", target, "", REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES | kept)


def unmount(target: str) -> None:
    """Detach a mount; it goes when nobody uses it any more."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(_DETACH)), f"unmount {target}")


def make_root(folder: str) -> None:
    """Make a mount point the root folder and lose the old root."""
    os.chdir(folder)
    _syscall("pivot_root", _numbered("pivot_root"), b".", b".")
    unmount(".")
    os.chdir("/")


def name_host(name: bytes) -> None:
    """Name the host, in our namespace of host names."""
    _check(_libc.sethostname(name, ctypes.c_size_t(len(name))), "host name")


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` when the thread that forked this process ends."""
    _prctl("prctl parent-death signal", _PR_SET_PDEATHSIG, signal)


def become(user: int, keep_privileges: bool) -> None:
    """Become another user and group for good, in no further group.

    Args:
        user: number of both.
        keep_privileges: keep the capabilities, which are those of our user namespace.
    """
    _prctl("prctl keep capabilities", _PR_SET_KEEPCAPS, keep_privileges)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if keep_privileges:
        _set_capabilities((1 << _CAPABILITIES) - 1)
    _prctl("prctl dumpable", _PR_SET_DUMPABLE, 1)  # or /proc/self and tracing are root's


def renounce_privileges() -> None:
    """Drop every capability and the ways to get one by executing a file."""
    _prctl("prctl no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)
    _set_capabilities(0)


def _set_capabilities(wanted: int) -> None:
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    held = bytearray(24)  # effective, permitted, inheritable; twice, for the high halves
    buffer = (ctypes.c_char * len(held)).from_buffer(held)
    _syscall("capget", _numbered("capget"), header, buffer)
    low, high = (struct.unpack_from("<I", held, at)[0] for at in (4, 16))
    permitted = (low | high << 32) & wanted
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    data = struct.pack("<6I", low, low, 0, high, high, 0)
    _syscall("capset", _numbered("capset"), header, data)


def filter_calls(program: bytes) -> None:
    """Put the calling thread under a seccomp filter (`call_filter.program`), for good."""
    held = ctypes.create_string_buffer(program, len(program))
    description = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    pointer = ctypes.c_char_p(description)
    option, mode = ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    _check(_libc.prctl(option, mode, pointer), "seccomp filter")


def landlock_version() -> int:
    """Landlock's interface version; 0 where the kernel has none or it is not enabled."""
    try:
        return _syscall("landlock", _LANDLOCK_CREATE, None, 0, 1)
    except OSError:
        return 0


def landlock_ruleset(version: int, rules: Iterable[tuple[int, int, bool]]) -> int:
    """Build a Landlock ruleset: all that it knows of is refused, but for `rules`.

    Args:
        version: what `landlock_version` said.
        rules: descriptor of a file or folder, the rights beneath it, and whether it is a folder.
    Returns:
        The ruleset's descriptor.
    """
    handled = 0
    for since, rights in _FILE_RIGHTS.items():
        handled |= rights if version >= since else 0
    attributes = struct.pack("<Q", handled)
    if version >= 4:
        attributes += struct.pack("<Q", _NETWORK_RIGHTS)
    if version >= 6:
        attributes += struct.pack("<Q", _SCOPES)
    ruleset = _syscall("landlock ruleset", _LANDLOCK_CREATE, attributes, len(attributes), 0)
    for descriptor, rights, is_folder in rules:
        allowed = rights & handled & (~0 if is_folder else _OF_FILES)
        rule = struct.pack("<Qi", allowed, descriptor)
        _syscall("landlock rule", _LANDLOCK_ADD, ruleset, 1, rule, 0)
    return ruleset


def landlock_restrict(ruleset: int) -> None:
    """Put the calling thread under a ruleset, for good; needs `renounce_privileges` first."""
    _syscall("landlock restrict", _LANDLOCK_RESTRICT, ruleset, 0)


def position(pid: int) -> tuple[int, int]:
    """Where a stopped child of ours stands: its main thread's stack and instruction pointers.

    Raises:
        OSError: the kernel does not let us trace it.
    """
    registers = (ctypes.c_uint64 * 64)()
    pair = (ctypes.c_size_t * 2)(ctypes.addressof(registers), ctypes.sizeof(registers))

    def ask(request: int, kind: int = 0, data: object = None) -> None:
        result = _libc.ptrace(
            ctypes.c_long(request), ctypes.c_int(pid), ctypes.c_void_p(kind), data
        )
        _check(result, "ptrace")

    ask(_PTRACE_SEIZE)
    try:
        ask(_PTRACE_INTERRUPT)  # or we wait for ever if somebody else made it go on
        os.waitpid(pid, _WAIT_ALL)  # if it died instead, the next request fails
        ask(_PTRACE_GETREGSET, _NT_PRSTATUS, ctypes.byref(pair))
    finally:
        with suppress(OSError):
            ask(_PTRACE_DETACH)
    stack, instruction = _REGISTERS[call_filter.machine()]
    return int(registers[stack]), int(registers[instruction])


def exit_through(last: Callable[[object], None], status: int) -> NoReturn:
    """End the process by C's exit(), and have that call `last` first.

    Nothing that is on the stack now runs again, whatever becomes of `last`: if it raises, the
    exception goes to `sys.unraisablehook`, and the process ends with `status`.
    """
    held = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(last)
    _check(-int(_libc.__cxa_atexit(held, None, None) != 0), "atexit")
    _libc.exit(ctypes.c_int(status))
    raise AssertionError(held)
