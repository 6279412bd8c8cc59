"""A measure of one's own: a Python function that scores a model document by document."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from exme.evaluators.scores import DocumentScores
from exme.search.cli.verify import verify_study
from exme.search.reports.exports.export import export_best
from exme.search.reports.pages.report import write_report
from exme.search.running.search import open_search
from exme.search.scoring.measure import load_measure
from exme.search.scoring.precision import choose_engine
from exme.search.statistics.intervals import is_bounded
from exme.search.study.study_file import StudyFile, load_study_file
from exme.tasks.documents import load_documents
from exme.tasks.errors import UserError
from exme.tasks.mini import MODELS
from exme.tasks.suite import load_suite

DOCUMENTS = load_documents(load_suite("gsm8k"), "mini", search=6, report=30, seed=0)

# How far a model's output layer spreads, the same for every document but for a part of its own.
SPREAD = """
import hashlib

def spread(model, tokenizer, documents):
    wide = float(model.get_output_embeddings().weight.double().std())
    own = [int(hashlib.sha256(d.row["question"].encode()).hexdigest()[:2], 16) for d in documents]
    return [min(0.9, max(0.1, 0.3 + 5000 * (wide - WIDE))) + part / 10000 for part in own]
"""


def write(folder: Path, code: str, **changed: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(code)
    content = {
        "base": "mini/base",
        "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
        "suites": ["gsm8k"],
        "data": "mini",
        "documents": {"search": 16, "report": 60},
        "budget": {"trials": 6},
        "measure": "mine:spread",
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content | changed, sort_keys=False))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bounds", "state"),
    [("spread.bounds = (0, 1)", "proved"), ("", "not proved")],
)
def test_a_search_goes_by_the_function_and_proves_where_it_has_bounds(
    tmp_path: Path, bounds: str, state: str
) -> None:
    widest = AutoModelForCausalLM.from_pretrained(MODELS / "sums", dtype=torch.float32)
    wide = widest.get_output_embeddings().weight.double().std().item()
    code = SPREAD.replace("WIDE", repr(wide))
    study = write(tmp_path / "a", f"{code}\n{bounds}\n")
    with open_search(study, runs=tmp_path / "runs") as search:
        outcome = search.run()
        documents = search.documents[0].report
        folder = search.folder
        report = write_report(outcome, folder).read_text()
        exported = export_best(search, tmp_path / "out")
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # noqa: S102  (the function, by itself)
    for entry in outcome.inputs:
        model = AutoModelForCausalLM.from_pretrained(MODELS / entry.name, dtype=torch.float32)
        expected = namespace["spread"](model, None, documents)
        assert list(entry.report.values) == pytest.approx(expected, rel=1e-6)
    assert outcome.verdict.state == state, outcome.verdict.sentence
    if not bounds:
        assert "Scores without bounds allow no proof" in outcome.verdict.sentence
    assert "mine:spread" in report and "mine.py" not in report
    assert AutoModelForCausalLM.from_pretrained(exported.folder).dtype == torch.bfloat16
    trials = len(outcome.trials)
    with open_search(study, runs=tmp_path / "runs") as search:  # taken up again: nothing is left
        assert len(search.run().trials) == trials
    write(tmp_path / "a", f"{code}\n{bounds}\n# changed\n")
    with pytest.raises(UserError, match="measure"):
        open_search(study, runs=tmp_path / "runs")


def measured(folder: Path, code: str, name: str = "mine:score") -> DocumentScores:
    """What a function gives on six documents."""
    content = load_study_file(write(folder, code, measure=name))
    found = load_measure(content.measure)
    assert found is not None
    return found.score(None, None, DOCUMENTS, "search")


@pytest.mark.parametrize(
    ("lines", "values", "bounded"),
    [
        ("return [0.25] * len(d)", 0.25, False),
        ("return __import__('torch').full((6,), 0.25)\nscore.bounds = (0, 1)", 0.25, True),
        ("return (0.25 for _ in d)\nscore.higher_is_better = False", -0.25, False),
        (
            "return [0.25] * 6\nscore.higher_is_better = False\nscore.bounds = [0, 1]",
            0.75,
            True,
        ),
    ],
)
def test_values_become_scores_that_are_better_when_higher(
    tmp_path: Path, lines: str, values: float, bounded: bool
) -> None:
    found = measured(tmp_path, f"def score(m, t, d):\n    {lines}\n")
    assert found.values == (values,) * 6
    assert found.documents == tuple(d.id for d in DOCUMENTS.search)
    assert is_bounded(found) == bounded


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("", "min:score", "no such module beside the study file or on Python's path"),
        ("def scores(m, t, d): ...", "mine:score", r"'score' is not there .*did you mean 'scores'"),
        ("score = 1", "mine:score", "'score' is no function"),
        ("1 / 0", "mine:score", r"cannot be imported \(ZeroDivisionError: division by zero\)"),
        ("import nowhere_at_all", "mine:score", r"cannot be imported \(ModuleNotFoundError"),
        ("def score(m, t, d): return [1.0]", "mine:score", "gave 1 scores for 6 documents"),
        ("def score(m, t, d): return 'abcdef'", "mine:score", "expected one number for each of 6"),
        ("def score(m, t, d): return None", "mine:score", "gave NoneType 'None', expected one"),
        ("def score(m, t, d): return [None] * 6", "mine:score", "expected one number for each"),
        ("def score(m, t, d): raise KeyError('x\\ny')", "mine:score", "raised KeyError: 'x"),
        (
            "def score(m, t, d): return [2.0] * 6\nscore.bounds = (0, 1)",
            "mine:score",
            r"gave 2, which is beyond its bounds \(0, 1\)",
        ),
        (
            "def score(m, t, d): ...\nscore.bounds = (0, 9)",
            "mine:score",
            r"bounds are \(0, 9\), expected \(0, 1\)",
        ),
    ],
)
def test_what_is_no_measure_is_refused_in_a_line(
    tmp_path: Path, code: str, name: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        measured(tmp_path, code + "\n", name)
    assert "\n" not in str(refused.value)


def test_a_score_that_is_not_finite_fails_its_candidate_alone(tmp_path: Path) -> None:
    for value in (math.nan, math.inf):
        code = f"def score(m, t, d): return [float('{value}')] * 6\n"
        with pytest.raises(ValueError, match="is not finite"):
            measured(tmp_path / str(value), code)


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    def study(measure: str, **changed: Any) -> StudyFile:
        return StudyFile(
            base="mini/base", checkpoints={"a": "mini/sums"}, measure=measure, **changed
        )

    with pytest.raises(UserError, match="did you mean 'target_nll'"):
        study("target_nl")
    with pytest.raises(UserError, match="asks the model itself, which vLLM's workers hold"):
        choose_engine(study("mine:score", engine="vllm"), {})


def test_verify_says_that_lm_eval_knows_nothing_of_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lm-eval knows nothing of a measure of your own"):
        verify_study(write(tmp_path, SPREAD), "gsm8k", "base", 4, tmp_path / "runs")
