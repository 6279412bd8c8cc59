"""pass@k as `evaluate`'s code_eval computes it, with the sandbox in place of its bare exec.

lm-eval's humaneval and mbpp call ``evaluate.load("code_eval").compute(references=, predictions=,
k=)``; a `CodeEval` takes that object's place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .run import Limits, Verdict, shared_sandbox

Results = dict[int, list[tuple[int, dict[str, Any]]]]


class CodeEval:
    """Takes the place of ``evaluate.load("code_eval")``; programs run in the shared sandbox."""

    def compute(
        self,
        predictions: Sequence[Sequence[str]],
        references: Sequence[str],
        k: int | Sequence[int] = (1, 10, 100),
        num_workers: int | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, float], Results]:
        """Run every prediction against its reference.

        Args:
            predictions: for each task, its programs.
            references: for each task, the tests that follow a program.
            k: which pass@k; those above the least number of programs are left out.
            num_workers: programs at once.
            timeout: seconds, here of processor time, rounded up; by default as limited.
        Returns:
            pass@k by name, mean over the tasks; and by task the outcome of each program.
        Raises:
            ValueError: not as many predictions as references.
            SandboxUnavailable: nothing was run.
        Source: Chen et al. 2021, arXiv:2107.03374, eq. 1; evaluate 0.4, metrics/code_eval.
        """
        tasks = list(zip(predictions, references, strict=True))
        programs = [f"{program}\n{test}" for written, test in tasks for program in written]
        limits = Limits()
        if timeout is not None:
            limits = replace(limits, cpu_seconds=math.ceil(timeout))
        verdicts = iter(shared_sandbox().run_many(programs, limits, num_workers))
        results: Results = {
            task: [(i, _outcome(task, i, next(verdicts))) for i in range(len(written))]
            for task, (written, _) in enumerate(tasks)
            if written
        }
        counts = [(len(r), sum(o["passed"] for _, o in r)) for r in results.values()]
        return {
            f"pass@{n}": sum(estimate_pass_at_k(*count, n) for count in counts) / len(counts)
            for n in ([k] if isinstance(k, int) else k)
            if counts and all(total >= n for total, _ in counts)
        }, results


def _outcome(task: int, completion: int, verdict: Verdict) -> dict[str, Any]:
    result = "passed" if verdict.passed else f"failed: {verdict.reason}"
    return {
        "task_id": task,
        "passed": verdict.passed,
        "result": result,
        "completion_id": completion,
    }


def estimate_pass_at_k(total: int, correct: int, k: int) -> float:
    """Chance that of k programs, drawn from `total` of which `correct` pass, one passes.

    Source: Chen et al. 2021, arXiv:2107.03374, eq. 1.
    """
    return 1.0 - math.comb(total - correct, k) / math.comb(total, k)
