"""The walls that the sandbox's keeper puts up once: another user, namespaces, Landlock.

Everything here happens before the keeper sees any program. The interpreter's library is opened
while the keeper is still whoever started it; it is then shown in an otherwise empty root folder,
granted by Landlock, or both.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exme.evaluators.sandbox import kernel
from exme.evaluators.sandbox.scratch import empty

# Users from here on are in nobody's password file; `nobody` where a container maps few users.
_FIRST_USER, _USERS, _NOBODY = 1_845_000_000, 1 << 22, 65534
_OTHERS_PACKAGES = ("site-packages", "dist-packages")
_DEVICES = ("/dev/null", "/dev/urandom")
_SCRATCH_INODES = 1024


@dataclass(frozen=True)
class Plan:
    """Which walls to put up; Landlock stands wherever the kernel has it and `landlock` is true."""

    folder: str
    another_user: bool
    namespaces: bool
    landlock: bool


@dataclass
class Walls:
    """The walls that stand, and the scratch folder between them.

    Attributes:
        namespaces: own user, mount, process, network, IPC and host name namespaces.
        landlock: Landlock's interface version, 0 for none.
        user: the user that the keeper and the programs run as.
        alone: whether the kernel counts this user's processes for this keeper alone.
        ruleset: descriptor of the Landlock ruleset, or None.
        scratch: path of the programs' folder, as they see it.
    """

    namespaces: bool
    landlock: int
    user: int
    alone: bool
    ruleset: int | None
    scratch: str
    _mounted: int = 0  # bytes that the mounted scratch folder holds at most

    def fresh_scratch(self, size: int) -> None:
        """Have an empty scratch folder; in a mount namespace it holds at most `size` bytes."""
        if not self.namespaces:
            empty(self.scratch)
        elif self._mounted != size or any(Path(self.scratch).iterdir()):
            if self._mounted:
                kernel.unmount(self.scratch)
            options = f"size={size},nr_inodes={_SCRATCH_INODES},mode=700"
            flags = kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_EXEC
            kernel.mount("tmpfs", self.scratch, "tmpfs", flags, options)
            self._mounted = size


def put_up(plan: Plan) -> Walls:
    """Put up the walls. With namespaces the caller goes on as process 1 of its own.

    Raises:
        OSError: the kernel refuses; the process must not be used then.
    """
    version = kernel.landlock_version() if plan.landlock else 0
    if not version and not plan.namespaces:
        raise OSError("neither Landlock nor user namespaces keep a program from reading files")
    os.umask(0o022)
    with suppress(OSError):  # if memory runs out, the kernel ends us and not the search
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    libraries = {path: os.open(path, os.O_RDONLY) for path in _library_paths()}
    user = _another_user() if plan.another_user else os.getuid()
    if plan.namespaces:
        _enter_namespaces(user)
        _build_root(plan.folder, libraries)
        # A file system is mounted over the scratch folder, so the rule is for the one above, which
        # is read-only.
        scratch, writable = "/tmp/program", "/tmp"
    else:
        scratch = writable = f"{plan.folder}/program"
        Path(scratch).mkdir(mode=0o700)
        for folder in (plan.folder, scratch) if plan.another_user else ():
            os.chown(folder, user, user)
    if plan.another_user:
        kernel.become(user, keep_privileges=plan.namespaces)
    if plan.namespaces:
        kernel.die_with_parent(signal.SIGKILL)  # a change of user undoes it
    ruleset = _ruleset(version, libraries, writable) if version else None
    for descriptor in libraries.values():
        os.close(descriptor)
    alone = plan.another_user and user != _NOBODY
    alone = alone or (plan.namespaces and _counts_by_namespace())
    return Walls(plan.namespaces, version, user, alone, ruleset, scratch)


def _counts_by_namespace() -> bool:
    """Whether a user's processes are counted for each user namespace: Linux 5.14."""
    numbers = re.findall(r"\d+", os.uname().release)
    return (int(numbers[0]), int(numbers[1])) >= (5, 14)


def _library_paths() -> list[str]:
    """The interpreter's own library: sys.path without a site, outermost folders only."""
    found = [path for path in sys.path if path and Path(path).exists()]
    return [p for p in found if not any(p.startswith(other + "/") for other in found)]


def _another_user() -> int:
    """A user and group that nobody is and that exist in our user namespace."""
    for user in (_FIRST_USER + os.getpid() % _USERS, _NOBODY):
        if all(_is_mapped(user, f"/proc/self/{kind}_map") for kind in ("uid", "gid")):
            return user
    raise OSError("there is no other user to run as")


def _is_mapped(number: int, table: str) -> bool:
    rows = [line.split() for line in Path(table).read_text("ascii").splitlines()]
    return any(int(first) <= number < int(first) + int(count) for first, _, count in rows)


def _enter_namespaces(user: int) -> None:
    """Enter new namespaces that know ourselves and `user`, as the first process in them."""
    ours = {"uid": os.geteuid(), "gid": os.getegid()}
    kinds = kernel.NEW_USER | kernel.NEW_MOUNT | kernel.NEW_PID
    kinds |= kernel.NEW_NETWORK | kernel.NEW_IPC | kernel.NEW_UTS
    if user == ours["uid"]:
        kernel.unshare(kinds)
        Path("/proc/self/setgroups").write_text("deny", "ascii")
        _map_users("self", ours, set())
    else:
        _with_helper(lambda: kernel.unshare(kinds), lambda pid: _map_users(pid, ours, {user}))
    first = os.fork()  # the first child is process 1: when it ends, the kernel ends all others
    if first:
        os.closerange(0, 3)
        _, status = os.waitpid(first, 0)
        os._exit(status != 0)


def _map_users(process: int | str, ours: dict[str, int], others: set[int]) -> None:
    for kind, own in ours.items():
        rows = "".join(f"{number} {number} 1\n" for number in {own} | others)
        Path(f"/proc/{process}/{kind}_map").write_text(rows, "ascii")


def _with_helper(ours: Callable[[], None], helpers: Callable[[int], None]) -> None:
    """Do something, then have a process that did not do it do something to us."""
    listen, say = os.pipe()
    process = os.getpid()
    helper = os.fork()
    if not helper:
        try:
            os.close(say)
            if os.read(listen, 1):
                helpers(process)
                os._exit(0)
        finally:
            os._exit(1)
    os.close(listen)
    try:
        ours()
        os.write(say, b"x")
    finally:
        os.close(say)
        _, status = os.waitpid(helper, 0)
    if status:
        raise OSError("cannot map users into a user namespace")


def _build_root(folder: str, libraries: dict[str, int]) -> None:
    """Make an empty root folder that shows the libraries, two devices and the scratch folder."""
    kernel.mount("", "/", "", kernel.PRIVATE | kernel.RECURSIVE)
    kernel.mount("tmpfs", folder, "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, "size=1m,mode=755")
    for path, descriptor in libraries.items():
        _show(path, folder + path, _is_folder(descriptor))
        for name in _OTHERS_PACKAGES:
            if Path(folder + path, name).is_dir():
                flags = kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_DEVICES
                kernel.mount("tmpfs", f"{folder}{path}/{name}", "tmpfs", flags, "size=4k")
    for device in _DEVICES:
        _show(device, folder + device, is_folder=False)
    Path(folder, "tmp/program").mkdir(parents=True)
    kernel.name_host(b"sandbox")
    kernel.make_root(folder)
    kernel.make_read_only("/")


def _show(source: str, target: str, is_folder: bool) -> None:
    if is_folder:
        Path(target).mkdir(parents=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    kernel.mount(source, target, "", kernel.BIND | kernel.RECURSIVE)
    if not target.endswith(_DEVICES):
        kernel.make_read_only(target)


def _is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def _ruleset(version: int, libraries: dict[str, int], writable: str) -> int:
    opened: list[int] = []

    def rules() -> Iterator[tuple[int, int, bool]]:
        for descriptor in libraries.values():
            is_folder = _is_folder(descriptor)
            yield descriptor, kernel.READ_FOLDER if is_folder else kernel.READ_FILE, is_folder
            for entry in os.scandir(descriptor) if is_folder else ():
                if entry.name not in _OTHERS_PACKAGES:
                    with suppress(OSError):  # a dangling link in the library is no concern of ours
                        opened.append(os.open(entry.name, os.O_PATH, dir_fd=descriptor))
                        yield opened[-1], kernel.READ_FILE, _is_folder(opened[-1])
        for device in _DEVICES:
            opened.append(os.open(device, os.O_PATH))
            rights = kernel.READ_FILE | (kernel.WRITE_FILE if device == "/dev/null" else 0)
            yield opened[-1], rights, False
        opened.append(os.open(writable, os.O_PATH))
        yield opened[-1], kernel.CHANGE, True

    try:
        return kernel.landlock_ruleset(version, rules())
    finally:
        for descriptor in opened:
            os.close(descriptor)
