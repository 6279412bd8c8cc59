"""Fuzz every parser for as long as one likes, guided by coverage where atheris is installed.

    make bench BENCH=fuzz ARGS="--seconds 60"
    make bench BENCH=fuzz ARGS="--seconds 600 --target recipe"

The targets and their good inputs are those of `tests/search/fuzzing.py`. Without atheris (`pip install
atheris`; Python up to 3.11 and Linux at the time of writing) mutations are drawn blindly. Ends with exit
code 1 at the first input that is neither taken nor refused by a UserError; it is left beside the target's
name in the current folder.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FunctionType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.search.fuzzing import TOKENS, Edit, Targets, mutate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--target", help="one of them; all, one after the other, by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blind", action="store_true", help="without atheris")
    options = parser.parse_args()
    guided = importlib.util.find_spec("atheris") is not None and not options.blind
    with tempfile.TemporaryDirectory(prefix="exme-fuzz-") as folder:
        targets = Targets(Path(folder))
        names = [options.target] if options.target else list(targets.targets)
        failed = 0
        for name in names:
            if guided and len(names) > 1:  # libFuzzer ends its process, so each has one of its own
                arguments = [*sys.argv, "--target", name]
                failed += os.spawnv(os.P_WAIT, sys.executable, [sys.executable, *arguments]) != 0
            elif guided:
                by_coverage(targets, name, options.seconds, options.seed)
            else:
                failed += not blindly(targets, name, options.seconds, options.seed)
    sys.exit(1 if failed else 0)


def blindly(targets: Targets, name: str, seconds: float, seed: int) -> bool:
    """Whether nothing was found by random mutations in that time."""
    chance, begin = random.Random(seed), time.monotonic()
    good, count, taken = targets.targets[name][1], 0, 0
    while time.monotonic() - begin < seconds:
        edits = [
            Edit(chance.random(), chance.choice([0, 1, 3, 20, 10**6]), _piece(chance))
            for _ in range(chance.randint(1, 5))
        ]
        data = mutate(good, edits)
        try:
            taken += targets.run(name, data)
        except Exception:  # noqa: BLE001  (that is what is looked for)
            path = Path(f"fuzz-{name.replace(' ', '-')}")
            path.write_bytes(data)
            print(f"{name}: {path} after {count} inputs\n{traceback.format_exc()}", flush=True)
            return False
        count += 1
    print(
        f"{name}: {count} inputs in {seconds:.0f} s, {taken} of them taken; nothing found",
        flush=True,
    )
    return True


def _piece(chance: random.Random) -> bytes:
    return (
        chance.choice(TOKENS) if chance.random() < 0.7 else chance.randbytes(chance.randint(0, 9))
    )


def by_coverage(targets: Targets, name: str, seconds: float, seed: int) -> None:
    """Let libFuzzer choose the mutations; it ends the process."""
    atheris: Any = importlib.import_module("atheris")

    for module in list(sys.modules):
        if module.startswith(("exme.", "yaml.")) and "cyaml" not in module:
            for value in vars(sys.modules[module]).values():
                if isinstance(value, FunctionType) and value.__module__ == module:  # (not Cython's)
                    atheris.instrument_func(value)
    corpus = targets.folder / "corpus"
    corpus.mkdir()
    (corpus / "good").write_bytes(targets.targets[name][1])
    words = targets.folder / "words"
    words.write_text(
        "".join(f'"{"".join(f"{chr(92)}x{b:02x}" for b in t[:60])}"\n' for t in TOKENS if t)
    )
    settings = [
        f"-max_total_time={seconds:.0f}",
        f"-seed={seed + 1}",
        f"-dict={words}",
        "-timeout=30",
    ]
    kept = f"-artifact_prefix={Path.cwd()}/fuzz-{name.replace(' ', '-')}-"
    atheris.Setup(
        [sys.argv[0], *settings, kept, "-verbosity=0", "-print_final_stats=1", str(corpus)],
        lambda data: targets.run(name, data) and None,
    )
    print(f"{name}, guided by coverage, {seconds:.0f} s", flush=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
