"""The seccomp filter: the system calls that a sandboxed program may make.

A list of what is allowed, not of what is forbidden: about 150 calls that Python needs for files,
memory, threads, time and its own signals. Everything else fails with EPERM, so there is no socket,
no fork, no exec, no ptrace, no mount, no io_uring, whatever the kernel learns next. Calls that can
be turned outwards are allowed only with arguments that cannot: `kill` only of oneself, `clone` only
of threads, `fcntl` without signals to others, `sendto` without an address.
"""

from __future__ import annotations

import errno
import functools
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

# name, number on x86_64, number on aarch64 ("-": has none). Linux 6.1, asm/unistd_64.h and
# asm-generic/unistd.h.
_ALLOWED = """
read 0 63; write 1 64; readv 19 65; writev 20 66; pread64 17 67; pwrite64 18 68; preadv 295 69
pwritev 296 70; preadv2 327 286; pwritev2 328 287; lseek 8 62; close 3 57; close_range 436 436
dup 32 23; dup2 33 -; dup3 292 24; pipe 22 -; pipe2 293 59; sendfile 40 71; copy_file_range 326 285
creat 85 -; stat 4 -; lstat 6 -; fstat 5 80; newfstatat 262 79; statx 332 291; statfs 137 43
fstatfs 138 44; access 21 -; faccessat 269 48; faccessat2 439 439; readlink 89 -; readlinkat 267 78
getdents 78 -; getdents64 217 61; getcwd 79 17; chdir 80 49; fchdir 81 50; umask 95 166
mkdir 83 -; mkdirat 258 34; rmdir 84 -; unlink 87 -; unlinkat 263 35; rename 82 -; renameat 264 38
renameat2 316 276; symlink 88 -; symlinkat 266 36; ftruncate 77 46; fallocate 285 47; fsync 74 82
fdatasync 75 83; flock 73 32; fadvise64 221 223
poll 7 -; ppoll 271 73; select 23 -; pselect6 270 72; epoll_create 213 -; epoll_create1 291 20
epoll_ctl 233 21; epoll_wait 232 -; epoll_pwait 281 22; epoll_pwait2 441 441; eventfd 284 -
eventfd2 290 19; recvfrom 45 207; shutdown 48 210; getsockopt 55 209; getsockname 51 204
getpeername 52 205
brk 12 214; mmap 9 222; munmap 11 215; mremap 25 216; mprotect 10 226; madvise 28 233; msync 26 227
membarrier 324 283; futex 202 98; set_robust_list 273 99; get_robust_list 274 100; rseq 334 293
set_tid_address 218 96; sched_yield 24 124; sched_getaffinity 204 123; getcpu 309 168
rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139; rt_sigpending 127 136
rt_sigsuspend 130 133; rt_sigtimedwait 128 137; sigaltstack 131 132; restart_syscall 219 128
pause 34 -; alarm 37 -; setitimer 38 103; getitimer 36 102
time 201 -; gettimeofday 96 169; clock_gettime 228 113; clock_getres 229 114
clock_nanosleep 230 115; nanosleep 35 101; times 100 153; getrusage 98 165; sysinfo 99 179
uname 63 160; getrandom 318 278
getpid 39 172; getppid 110 173; gettid 186 178; getuid 102 174; geteuid 107 175; getgid 104 176
getegid 108 177; getresuid 118 148; getresgid 120 150; getgroups 115 158; getpgrp 111 -
getpgid 121 155; getsid 124 156; capget 125 90; getrlimit 97 163; setrlimit 160 164; wait4 61 260
waitid 247 95; exit 60 93; exit_group 231 94
"""
_CHECKED = """
open 2 -; openat 257 56; clone 56 220; fcntl 72 25; ioctl 16 29; prctl 157 167; socketpair 53 199
sendto 44 206
"""
_OWN = "kill 62 129; tgkill 234 131; prlimit64 302 261"  # only of oneself; for prlimit, 0 is too
_CLONE3 = 435
_NEWER = 463  # calls from here on are answered ENOSYS, so that a newer libc falls back
_X32 = 0x40000000  # the x32 calls of x86_64 live above; they are EPERM

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_KILL_PROCESS, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]; little-endian.
_NR, _ARCH = 0, 4
_LOAD, _JEQ, _JGE, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06

_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020000  # every CLONE_NEW* flag but NEWTIME, via clone3
_O_ACCMODE, _O_TRUNC = 0o3, 0o1000
# F_DUPFD, GETFD, SETFD, GETFL, SETFL, the locks, DUPFD_CLOEXEC, GETPIPE_SZ; not F_SETOWN, F_SETSIG
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; not TIOCSTI
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_PRCTL = (15, 16)  # PR_SET_NAME, PR_GET_NAME; not the dumpable flag or the parent-death signal
_AF_UNIX, _SOCK_STREAM = 1, 1


@dataclass(frozen=True)
class _Call:
    """One instruction of the filter's machine."""

    code: int
    jump_true: int
    jump_false: int
    value: int


@functools.cache
def machine() -> str:
    """This machine's architecture if the filter knows it.

    Raises:
        OSError: it does not.
    """
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if name not in _AUDIT_ARCH or struct.calcsize("P") != 8:
        raise OSError(errno.ENOSYS, f"no system-call filter for {name} (have: x86_64, aarch64)")
    return name


def numbers(table: str, architecture: str) -> dict[str, int]:
    """The calls of a table that this architecture has, by name."""
    column = 1 if architecture == "x86_64" else 2
    rows = (row.split() for line in table.strip().splitlines() for row in line.split(";"))
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def _argument(index: int, high: bool = False) -> _Call:
    return _Call(_LOAD, 0, 0, 16 + 8 * index + (4 if high else 0))


def _result(value: int) -> _Call:
    return _Call(_RETURN, 0, 0, value)


def _one_of(index: int, values: tuple[int, ...]) -> list[_Call]:
    block = [_argument(index)]
    for value in values:
        block += [_Call(_JEQ, 0, 1, value), _result(_ALLOW)]
    return [*block, _result(_EPERM)]


def _masked(index: int, mask: int, wanted: int, then: int, otherwise: int) -> list[_Call]:
    return [
        _argument(index),
        _Call(_AND, 0, 0, mask),
        _Call(_JEQ, 0, 1, wanted),
        _result(then),
        _result(otherwise),
    ]


def _rules(threads: bool) -> dict[str, list[_Call]]:
    """What the checked calls must look like; every block ends in a result."""
    # Landlock before ABI 3 lets O_RDONLY | O_TRUNC empty a file that it would not let be written.
    truncating = (_O_ACCMODE | _O_TRUNC, _O_TRUNC, _EPERM, _ALLOW)
    return {
        "open": _masked(1, *truncating),
        "openat": _masked(2, *truncating),
        "clone": _masked(0, _CLONE_THREAD | _CLONE_NEW, _CLONE_THREAD, _ALLOW, _EPERM)
        if threads
        else [_result(_EPERM)],
        "fcntl": _one_of(1, _FCNTL),
        "ioctl": _one_of(1, _IOCTL),
        "prctl": _one_of(0, _PRCTL),
        # A stream pair reaches nobody; asyncio wakes itself with one. Bits above the type are
        # SOCK_CLOEXEC and SOCK_NONBLOCK.
        "socketpair": [
            _argument(0),
            _Call(_JEQ, 1, 0, _AF_UNIX),
            _result(_EPERM),
            *_masked(1, 0xF, _SOCK_STREAM, _ALLOW, _EPERM),
        ],
        "sendto": [  # send(2) is sendto without an address: both halves of the pointer are zero
            _argument(4),
            _Call(_JEQ, 0, 3, 0),
            _argument(4, high=True),
            _Call(_JEQ, 0, 1, 0),
            _result(_ALLOW),
            _result(_EPERM),
        ],
    }


def program(pid: int, threads: bool) -> bytes:
    """The filter as an array of struct sock_filter.

    Args:
        pid: the process that it is for, as that process sees itself; the only one it may signal.
        threads: whether it may start threads.
    Raises:
        OSError: no filter for this architecture.
    """
    own = []
    for name, number in numbers(_OWN, machine()).items():
        block = _one_of(0, (pid, 0) if name == "prlimit64" else (pid,))
        own += [_Call(_JEQ, 0, len(block), number), *block]
    return _first(threads) + _packed(own) + _packed(_LAST)


@functools.cache
def _first(threads: bool) -> bytes:
    """What is the same for every process."""
    architecture = machine()
    calls = [
        _Call(_LOAD, 0, 0, _ARCH),
        _Call(_JEQ, 1, 0, _AUDIT_ARCH[architecture]),
        _result(_KILL_PROCESS),  # 32-bit calls have other numbers
        _Call(_LOAD, 0, 0, _NR),
    ]
    for number in numbers(_ALLOWED, architecture).values():
        calls += [_Call(_JEQ, 0, 1, number), _result(_ALLOW)]
    rules = _rules(threads)
    for name, number in numbers(_CHECKED, architecture).items():
        calls += [_Call(_JEQ, 0, len(rules[name]), number), *rules[name]]
    return _packed(calls)


_LAST = [
    _Call(_JEQ, 0, 1, _CLONE3),  # its flags are in memory, out of a filter's sight
    _result(_ENOSYS),
    _Call(_JGE, 2, 0, _X32),
    _Call(_JGE, 0, 1, _NEWER),
    _result(_ENOSYS),
    _result(_EPERM),
]


def _packed(calls: Iterable[_Call]) -> bytes:
    return b"".join(
        struct.pack("<HBBI", call.code, call.jump_true, call.jump_false, call.value)
        for call in calls
    )
