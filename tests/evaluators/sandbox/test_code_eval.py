"""Passing on HumanEval and MBPP, and code_eval's interface."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exme.evaluators.sandbox.code_eval import CodeEval, estimate_pass_at_k
from exme.evaluators.sandbox.run import Limits, run_many
from tests.helpers.sandbox.elsewhere import run_elsewhere

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of Linux")


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def humaneval_program(document: dict[str, str], solution: str) -> str:
    test, entry = document["test"], document["entry_point"]
    return f"{document['prompt']}{solution}\n{test}\ncheck({entry})"


def test_all_canonical_solutions_of_humaneval_pass(shared):
    documents = lines(shared / "data" / "humaneval" / "test.jsonl")
    verdicts = run_many([humaneval_program(d, d["canonical_solution"]) for d in documents])
    assert len(verdicts) == 164
    assert [
        (d["task_id"], v) for d, v in zip(documents, verdicts, strict=True) if not v.passed
    ] == []


@pytest.mark.parametrize("damage", ["nothing", "an early leave", "a quiet leave", "half", "a lie"])
def test_no_broken_solution_of_humaneval_passes(shared, damage):
    documents = lines(shared / "data" / "humaneval" / "test.jsonl")
    broken: dict[str, Callable[[dict[str, str]], str]] = {
        "nothing": lambda d: "    return None\n",
        "an early leave": lambda d: d["canonical_solution"] + "\nimport os\nos._exit(0)\n",
        "a quiet leave": lambda d: d["canonical_solution"] + "\nraise SystemExit(0)\n",
        "half": lambda d: d["canonical_solution"][: len(d["canonical_solution"]) // 2] + " (",
        "a lie": lambda d: "    print('passed')\n    import sys\n    sys.exit(0)\n",
    }
    verdicts = run_many([humaneval_program(d, broken[damage](d)) for d in documents])
    assert len(verdicts) == 164
    assert [(d["task_id"], v) for d, v in zip(documents, verdicts, strict=True) if v.passed] == []


def test_the_solutions_of_mbpp_pass_as_they_do_in_the_reference(shared):
    documents = lines(shared / "data" / "mbpp" / "validation.jsonl")
    documents += lines(shared / "data" / "mbpp" / "prompt.jsonl")
    tests = ["\n".join(d["test_list"][:3]) for d in documents]
    for programs, passed in (
        ([[d["code"]] for d in documents], 1.0),
        ([["pass"]] * len(tests), 0.0),
    ):
        assert CodeEval().compute(programs, tests, 1)[0] == {"pass@1": passed}


def test_outcomes_equal_those_of_a_bare_exec_in_a_fresh_process(shared):
    """The reference, less its three seconds of wall time, which a busy machine would not keep."""
    documents = random.Random(0).sample(lines(shared / "data" / "humaneval" / "test.jsonl"), 12)
    programs = [
        humaneval_program(d, d["canonical_solution"].replace(old, new))
        for d in documents
        for old, new in (("+", "-"), ("1", "2"), ("return", "return not"))
    ]
    reference = "import sys\nexec(sys.stdin.read(), {})\nprint('the end', file=sys.__stderr__)"
    expected = []
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-I", "-c", reference],
            check=False,
            input=program.encode(),
            capture_output=True,
        )
        expected.append(done.stderr == b"the end\n")
    assert 0 < sum(expected) < len(expected)
    assert [v.passed for v in run_many(programs, Limits(cpu_seconds=20))] == expected


@pytest.mark.parametrize("namespaces", [True, False])
def test_an_ordinary_user_gets_the_same_verdicts(shared, namespaces):
    documents = lines(shared / "data" / "humaneval" / "test.jsonl")[::8]
    right = [humaneval_program(d, d["canonical_solution"]) for d in documents]
    wrong = [humaneval_program(d, "    return None\n") for d in documents]
    layers, verdicts = run_elsewhere(right + wrong, Limits(), user=65534, namespaces=namespaces)
    assert [v.passed for v in verdicts] == [True] * len(right) + [False] * len(wrong)
    assert layers["system-call filter"] and not layers["another user"]


def test_code_eval_gives_pass_at_k_and_the_outcome_of_each_program():
    tests = ["assert add(2, 3) == 5", "assert double(2) == 4"]
    right, wrong = "def add(a, b): return a + b", "def add(a, b): return a * b"
    scores, results = CodeEval().compute(
        references=tests, predictions=[[right, wrong], ["double = 1", wrong]], k=[1, 2, 3]
    )
    assert scores == {"pass@1": 0.25, "pass@2": 0.5}
    assert [o["passed"] for _, o in results[0]] == [True, False]
    assert results[0][0] == (
        0,
        {"task_id": 0, "passed": True, "result": "passed", "completion_id": 0},
    )
    assert results[1][0][1]["result"].startswith("failed: raised line 2: TypeError")


def test_programs_without_a_test_are_refused():
    with pytest.raises(ValueError, match="zip"):
        CodeEval().compute([["c"]], ["a", "b"])


def test_pass_at_k_is_the_chance_that_a_drawn_program_passes():
    # 5 programs, 2 pass: of the 10 pairs, 3 have none that passes.
    assert estimate_pass_at_k(5, 2, 2) == pytest.approx(0.7)
    assert estimate_pass_at_k(5, 0, 5) == 0.0
    assert estimate_pass_at_k(5, 5, 1) == 1.0
