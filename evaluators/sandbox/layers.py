"""The sandbox's protections: which stand on this machine, and the proof that they do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .process import KeeperProcess, Plan, SandboxBroken, SandboxRefused

_PATIENCE_SECONDS = 60.0
# The first program of every keeper tries what must be refused.
_PROOF = """
import os, resource
import _socket, colorsys
def refused(action, *arguments):
    try:
        action(*arguments)
    except OSError:
        return
    raise AssertionError(f"{action.__name__} was not refused")
refused(_socket.socket)
refused(os.fork)
refused(os.execv, "/bin/true", ["true"])
refused(os.listdir, OUTSIDE)
refused(os.open, OUTSIDE + "/file", os.O_RDONLY)
refused(os.open, OUTSIDE + "/new", os.O_WRONLY | os.O_CREAT)
for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
    assert resource.getrlimit(kind)[1] != resource.RLIM_INFINITY, "no limits"
assert not os.environ, "an environment"
with open("kept", "w") as file:
    file.write("x")
"""
_PROOF_LIMITS = {
    "wall": 30.0,
    "cpu": 5,
    "memory": 1 << 30,
    "processes": 4,
    "output": 1 << 12,
    "disk": 1 << 20,
}


@dataclass(frozen=True)
class Layer:
    """One protection.

    Attributes:
        name: what it is.
        active: whether it stands on this machine.
        detail: what it gives; where it does not stand, what is lost.
    """

    name: str
    active: bool
    detail: str


def possible_plans(namespaces: bool, landlock: bool) -> list[Plan]:
    """The walls to try, strongest first."""
    users = (True, False) if hasattr(os, "geteuid") and os.geteuid() == 0 else (False,)
    walls = (True, False) if namespaces else (False,)
    return [Plan(user, wall, landlock) for user in users for wall in walls]


def proven_keeper(plan: Plan) -> KeeperProcess:
    """Start a keeper and see it refuse what it must.

    Raises:
        SandboxBroken: the walls cannot be had, or they leak; or it broke twice in a row.
    """
    try:
        return _proven(plan)
    except SandboxRefused:
        raise
    except SandboxBroken:  # no reason to make do with weaker walls
        return _proven(plan)


def _proven(plan: Plan) -> KeeperProcess:
    keeper = KeeperProcess(plan)
    try:
        with tempfile.TemporaryDirectory(prefix="exme-sandbox-proof-") as outside:
            Path(outside).chmod(0o777)  # open to all: permissions must not be what refuses
            Path(outside, "file").write_text("x", "ascii")
            given = f"OUTSIDE = {outside!r}\n"
            answer = keeper.ask({"source": given + _PROOF, **_PROOF_LIMITS}, _PATIENCE_SECONDS)
        if not answer["passed"]:
            raise SandboxRefused(f"the proof failed: {answer['reason']}")
    except BaseException:
        keeper.close()
        raise
    return keeper


def in_words(plan: Plan) -> str:
    """A plan for an error message."""
    walls = "with user namespaces" if plan.namespaces else "without user namespaces"
    return f"{walls}, as another user" if plan.another_user else walls


def layers(state: Mapping[str, Any]) -> tuple[Layer, ...]:
    """A keeper's state, one layer at a time."""
    user, another = state["user"], state["user"] != os.geteuid()
    return (
        Layer("system-call filter", True, "no network, process, signal to or tracing of others"),
        Layer("resource limits", True, "processor time, memory, file size, open files"),
        Layer("nothing handed down", True, "no variable, argument or open file of ours"),
        Layer(
            "namespaces",
            state["namespaces"],
            "an empty network, process list and root folder; a scratch folder of fixed size"
            if state["namespaces"]
            else "names, sizes and dates of files elsewhere can be seen, not what they hold; the"
            " scratch folder's size is watched and can be overshot",
        ),
        Layer(
            "Landlock",
            state["landlock"] > 0,
            f"version {state['landlock']}: reads the library, writes the scratch folder"
            if state["landlock"]
            else "the root folder of the mount namespace alone keeps files away",
        ),
        Layer(
            "another user",
            another,
            f"user {user}, who owns nothing"
            if another
            else f"programs run as user {user}, without its privileges",
        ),
        Layer(
            "threads",
            state["threads"],
            "up to their limit"
            if state["threads"]
            else "their number cannot be limited here, so programs cannot start any",
        ),
        Layer(
            "end check",
            state["end_check"],
            "the kernel says whether a program stands at its end"
            if state["end_check"]
            else "no tracing here: a program that sends itself SIGSTOP counts as passed",
        ),
    )
