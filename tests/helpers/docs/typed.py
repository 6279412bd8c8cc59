"""What is typed for a command of the docs: all of them are run.

Commands in blocks are typed as they stand. One in the text may leave out what is the reader's own, and results.md has those that
took hours. Nothing is taken away from them: what is added comes last, and the last of two equal options holds.
"""

from __future__ import annotations

import re

from tests.helpers.places import ROOT

# Names that stand for something of the reader's; before them, the option or variable that they belong to.
PLACEHOLDERS = {
    r"\bSTUDY\b(?!=)": "studies/mini.yaml",
    r"\bSUITE\b": "gsm8k",
    r"\bcompare A B\b(.*)": r"compare mini/base mini/sums\1 --documents 8",
    r"\bCOMMAND\b": "search",
    r"NLTK_DATA=FOLDER": "NLTK_DATA=../shared/data/nltk_data",
    r"--models FOLDER": "--models made",
    r"--model FOLDER": "--model ../shared/models/stories260K",
    r"(?<=suites.py)(.*)--data FOLDER": r"\1--data ../shared/data",
    r"--data FOLDER": "--data data",
    r"\bDIR\b": "made",
    r"\bENVIRONMENT\b": "mergekit-environment",
    r"<address of [^>]*>": "https://wheels.example.org",
}

# Begun so, these are only named: what they are given is the reader's.
ABRIDGED = {
    r"exme (search|worker|export) --": "exme {} studies/mini.yaml --",
    r"git clone$": f"git clone {ROOT} ../again",
    r"benchmarks/": "python benchmarks/",
}

# What makes seconds of minutes and hours, by how a command begins.
ADDED = {
    "python benchmarks/evaluation.py --suites gsm8k": "--suites gsm8k --documents 4 --candidates 7 --repeats 1 --batch 4",
    "python benchmarks/evaluation.py --suites bbh": (
        "--suites humaneval --documents 1 --candidates 7 --repeats 1 --batch 1 --longest 4"
    ),
    "python benchmarks/imitators.py": "--steps 4",
    "python benchmarks/finetune_stories.py": "--steps 1",
    "python benchmarks/suites.py --documents 16": "--documents 1 --max-gen-toks 4 --mini-models --suites gsm8k --only-real",
    "python benchmarks/suites.py --documents 8": "--documents 1 --max-gen-toks 4 --mini-models base --suites gsm8k",
    "python benchmarks/mini_suites.py": "--documents 1",
    "python benchmarks/materialise.py --gigabytes 1 --sources": "--gigabytes 0.04 --sources 2 --rounds 1",
    "python benchmarks/materialise.py --gigabytes 1 --rounds": "--gigabytes 0.01 --rounds 1",
    "python benchmarks/directions.py compare": (
        "--methods doge --suites gsm8k --seeds 1 --search 8 --report 8 --documents 32"
    ),
    "python benchmarks/directions.py growth": "--methods doge --sizes 0.25M",
    "pytest tests/evaluators/fast/test_suites_exact.py": "-p no:cacheprovider -k 'mini_suites and humaneval'",
    "python benchmarks/soak_kill.py": "--kills 1 --trials 12 --workers 2",
    "python benchmarks/soak.py": "--trials 20 --workers 2",
    "python -m benchmarks.make_landscape": "--documents 4 --points 4 --steps 2",
    "python -m benchmarks.search_gain": "--only math --seeds 1 --methods product random",
    "make real": "ARGS=--help",  # what it begins with is on PyPI
    "python -m benchmarks.real": "--help",
    "python -m benchmarks.closing": "--documents 32",
    "python -m benchmarks.wrong_stops": "--pairs 20",
    "python -m benchmarks.guarantees": "--studies 4",
    "python -m exme.tasks.mini.training.train": "--preset tiny",
}
# What has to be typed before, where a page's order is not that of its tests.
BEFORE = {
    "python benchmarks/evaluation.py --suites bbh": (
        "python benchmarks/imitators.py --data ../shared/data --out studies/runs/imitators --steps 4"
    ),
    "python benchmarks/directions.py table": (
        "python benchmarks/directions.py compare --out runs.jsonl --methods doge --suites gsm8k --seeds 1 "
        "--search 8 --report 8 --documents 32"
    ),
}
# What reads or writes elsewhere than the warm process has it: a program that is started as any other.
COLD = ("python -m exme.tasks.mini.suites.held_out", "make audit")


def typed(text: str) -> str:
    """What is typed for a command of the text."""
    for pattern, filled in ABRIDGED.items():
        if found := re.match(pattern, text):
            text = filled.format(*found.groups()) + text[found.end() :]
    for pattern, filled in PLACEHOLDERS.items():
        text = re.sub(pattern, filled, text)
    bare = re.sub(r"^(?:[A-Z0-9_]+=\S+ )+", "", text)
    before = [first + " && " for begin, first in BEFORE.items() if bare.startswith(begin)]
    added = [" " + more for begin, more in ADDED.items() if bare.startswith(begin)]
    return "".join([*before, text, *added])
