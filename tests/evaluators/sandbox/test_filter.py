from __future__ import annotations

import os
import platform
import struct

import pytest

from exme.evaluators.sandbox import filter as call_filter


def filtered(program: bytes, number: int, *arguments: int, architecture: int) -> str:
    """What the kernel's filter machine answers, for the few instructions that we use."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *padded)
    accumulator = at = 0
    while True:
        code, yes, no, value = struct.unpack_from("<HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code in (0x15, 0x35):
            at += yes if (accumulator == value if code == 0x15 else accumulator >= value) else no
        else:
            assert code == 0x06
            return {0x7FFF0000: "yes", 0x80000000: "kill"}.get(value, os.strerror(value & 0xFFFF))


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_filter_of_each_architecture_lets_pass_what_it_should(monkeypatch, machine, column):
    architecture = (0xC000003E, 0xC00000B7)[column]
    monkeypatch.setattr(platform, "machine", lambda: machine)
    for cached in (call_filter.machine, call_filter._first):
        cached.cache_clear()
    program = call_filter.program(77, True)
    threadless = call_filter.program(77, False)
    for cached in (call_filter.machine, call_filter._first):
        cached.cache_clear()
    no, thread = "Operation not permitted", 0x3D0F00
    cases = {
        "read": ((0, 63), (0,), "yes"),
        "write": ((1, 64), (1,), "yes"),
        "openat": ((257, 56), (0, 0, 0o100), "yes"),
        "openat, truncating what it cannot write": ((257, 56), (0, 0, 0o1000), no),
        "socket": ((41, 198), (2, 1), no),
        "connect": ((42, 203), (3,), no),
        "send": ((44, 206), (3, 0, 0, 0, 0), "yes"),
        "send to an address": ((44, 206), (3, 0, 0, 0, 1 << 32), no),
        "a stream pair": ((53, 199), (1, 0x80801), "yes"),
        "a datagram pair": ((53, 199), (1, 2), no),
        "kill itself": ((62, 129), (77,), "yes"),
        "kill another": ((62, 129), (78,), no),
        "kill all": ((62, 129), (2**64 - 1,), no),
        "a thread": ((56, 220), (thread,), "yes"),
        "a process": ((56, 220), (17,), no),
        "a thread in new namespaces": ((56, 220), (thread | 1 << 28,), no),
        "clone3": ((435, 435), (), "Function not implemented"),
        "its own limits": ((302, 261), (0,), "yes"),
        "another's limits": ((302, 261), (1,), no),
        "execve": ((59, 221), (), no),
        "ptrace": ((101, 117), (), no),
        "mount": ((165, 40), (), no),
        "unshare": ((272, 97), (), no),
        "io_uring_setup": ((425, 425), (), no),
        "bpf": ((321, 280), (), no),
        "keyctl": ((250, 219), (), no),
        "what comes one day": ((5000, 5000), (), "Function not implemented"),
        "the x32 calls": ((0x40000000, 0x40000000), (), no),
    }
    for name, (numbers, arguments, answer) in cases.items():
        given = filtered(program, numbers[column], *arguments, architecture=architecture)
        assert (name, given) == (name, answer)
    assert filtered(threadless, (56, 220)[column], thread, architecture=architecture) == no
    assert filtered(program, 0, architecture=0x40000003) == "kill"
