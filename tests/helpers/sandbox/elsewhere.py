"""Run programs in the sandbox of another process: as another user, or with less to be had."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators import sandbox
from exme.tasks import errors

_ELSEWHERE = """
import dataclasses, json, sys
from exme.evaluators.sandbox import Limits, Sandbox
asked = json.load(sys.stdin)
with Sandbox(namespaces=asked["namespaces"]) as sandbox:
    verdicts = sandbox.run_many(asked["programs"], Limits(**asked["limits"]), workers=2)
    layers = {layer.name: layer.active for layer in sandbox.layers()}
print(json.dumps([layers, [dataclasses.asdict(verdict) for verdict in verdicts]]))
"""


def run_elsewhere(
    programs: Sequence[str],
    limits: sandbox.Limits,
    *,
    user: int | None = None,
    namespaces: bool = True,
    within: Sequence[str] = (),
) -> tuple[dict[str, bool], list[sandbox.Verdict]]:
    """Run programs in the sandbox of another Python process; skip where there can be none.

    Args:
        programs: the programs.
        limits: of each.
        user: run it as this user.
        namespaces: as for `Sandbox`.
        within: command in front of Python's.
    Returns:
        Which layers were active, by name, and the verdicts.
    """
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="exme-elsewhere-") as folder:
        Path(folder).chmod(0o755)
        origin = Path(str(sandbox.__file__)).parent
        shutil.copytree(origin, Path(folder, "exme", "evaluators", "sandbox"))
        Path(folder, "exme", "tasks").mkdir()
        shutil.copyfile(str(errors.__file__), Path(folder, "exme", "tasks", "errors.py"))
        asked = {"programs": programs, "limits": asdict(limits), "namespaces": namespaces}
        who: dict[str, Any] = {"cwd": "/", "env": {"PYTHONPATH": folder}, "capture_output": True}
        if user is not None:
            who |= {"user": user, "group": user, "extra_groups": []}
        for python in (sys.executable, "/usr/bin/python3"):
            command = [*within, python, "-c", "import sys; assert sys.version_info >= (3, 11)"]
            with contextlib.suppress(OSError):
                if subprocess.run(command, check=False, **who).returncode == 0:
                    break
        else:
            pytest.skip(f"no Python 3.11 for user {user} {' '.join(within)}")
        command[-1] = _ELSEWHERE
        done = subprocess.run(command, check=False, input=json.dumps(asked).encode(), **who)
        assert done.returncode == 0, done.stderr.decode()
    layers, verdicts = json.loads(done.stdout)
    return layers, [sandbox.Verdict(**verdict) for verdict in verdicts]
