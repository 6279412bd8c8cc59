"""What is installed here, against what is pinned and allowed: `make check` runs it, and it needs no network.

Every installed distribution must be one that `constraints.txt` pins, in that version, be required by
ExMe or by something that it requires, and state a licence of `ALLOWED`. `--online` has pip-audit compare
the pins with the databases of known vulnerabilities.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

# Licences that allow use, change and redistribution beside Apache-2.0; weak copyleft stays with its files.
ALLOWED = (
    *("MIT", "BSD", "APACHE", "PSF", "PYTHON SOFTWARE FOUNDATION", "ISC", "ZLIB", "UNLICENSE"),
    *("MPL", "MOZILLA", "LGPL", "HPND", "CC0", "0BSD", "PUBLIC DOMAIN", "CNRI", "ZPL"),
)
# Distributions whose metadata say too little, and what their own LICENSE files say.
KNOWN: Mapping[str, str] = {}


def pins(text: str) -> dict[str, str]:
    """Versions by distribution, from the lines of a constraints file."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    found = (line.partition("==") for line in lines if line)
    return {canonicalize_name(name): version for name, _, version in found}


def licence(of: metadata.PackageMetadata) -> str:
    """What a distribution states, in capitals: expression, classifiers, or the first line of a text."""
    (expression, *_) = of.get_all("License-Expression") or [""]
    if expression:
        return str(expression).upper()
    classifiers = [c for c in of.get_all("Classifier") or [] if c.startswith("License ::")]
    (text, *_) = of.get_all("License") or [""]
    first = next(iter(str(text).strip().splitlines()), "")
    return " ".join([*classifiers, first]).upper()


def is_allowed(stated: str) -> bool:
    """Whether some allowed licence is among those that are stated."""
    words = stated.replace("GNU LESSER GENERAL PUBLIC", "LGPL")
    return any(re.search(rf"\b{re.escape(name)}", words) for name in ALLOWED)


def required(roots: Iterable[str], installed: Mapping[str, metadata.Distribution]) -> set[str]:
    """Names of all that these requirements need here, directly or not."""
    wanted, seen = [Requirement(text) for text in roots], set[tuple[str, str]]()
    while wanted:
        one = wanted.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in seen or name not in installed:
                continue
            seen.add((name, extra))
            for text in installed[name].requires or []:
                needs = Requirement(text)
                if needs.marker is None or needs.marker.evaluate({"extra": extra}):
                    wanted.append(needs)
    return {name for name, _ in seen}


def complaints(
    installed: Mapping[str, metadata.Distribution], pinned: Mapping[str, str], roots: Iterable[str]
) -> list[str]:
    """What is wrong with what is installed; empty when nothing is."""
    wrong = []
    needed = required(roots, installed)
    for name, found in sorted(installed.items()):
        if name == "exme":
            continue
        version = found.version.partition("+")[0]  # torch's +cpu and +cu130 are one release
        stated = KNOWN.get(name) or licence(found.metadata)
        if name not in pinned:
            wrong.append(f"{name} {version} is installed, and constraints.txt does not pin it")
        elif version != pinned[name]:
            wrong.append(f"{name} {version} is installed, constraints.txt has {pinned[name]}")
        if name not in needed:
            wrong.append(f"{name} {version} is installed, and nothing requires it")
        if not is_allowed(stated):
            wrong.append(f"{name} {version}: licence '{stated[:60]}' is not among those allowed")
    return wrong


def main() -> int:
    """Print what is wrong; the exit code."""
    constraints = ROOT / "constraints.txt"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"], "pip"]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    installed = {str(canonicalize_name(d.name)): d for d in metadata.distributions()}
    wrong = complaints(installed, pins(constraints.read_text(encoding="utf-8")), wanted)
    print(
        "\n".join(wrong) or f"{len(installed) - 1} distributions: pinned, needed, licences allowed"
    )
    if wrong:
        return 1
    if "--online" not in sys.argv[1:]:
        return 0
    if importlib.util.find_spec("pip_audit") is None:
        print("pip-audit is not installed: pip install pip-audit, in an environment of its own")
        return 2
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "-r", str(constraints)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
