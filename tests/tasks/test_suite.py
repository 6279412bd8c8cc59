"""Suite files: those that ship with the package, and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from exme.tasks.documents import load_documents
from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite, suite_names

SUITES = ["bbh", "gsm8k", "humaneval", "ifeval", "math", "mbpp", "mmlu"]
OWN = """
suite: mine
lm_eval_tasks: {gsm8k: null}
metric: exact_match
filter: strict-match
columns: [question, answer]
fewshot: {count: 0}
search: {split: train}
report: {split: test}
"""


def test_the_seven_suites_ship_with_the_package() -> None:
    assert suite_names() == SUITES


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_says_what_it_is(name: str) -> None:
    suite = load_suite(name)
    assert suite.suite == name
    assert suite.title and suite.hub and suite.published
    assert max(suite.changes) == suite.version


@pytest.mark.parametrize("name", ["gsm8k", "humaneval", "mbpp", "bbh", "ifeval"])
def test_published_counts_are_those_of_real_data(name: str, shared: Path) -> None:
    suite = load_suite(name)
    found = load_documents(suite, str(shared / "data"), search=None, report=None, seed=0)
    assert suite.published is not None
    assert len(found.search) == suite.published.search
    assert len(found.report) == suite.published.report


def test_a_suite_of_ones_own_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN + "lm_eval_folder: own_tasks\n")
    with pytest.raises(UserError, match=r"lm_eval_folder: .*own_tasks is no folder"):
        load_suite(str(path))
    (tmp_path / "own_tasks").mkdir()
    suite = load_suite(str(path))
    assert suite.suite == "mine"
    assert suite.lm_eval_folder == str(tmp_path / "own_tasks")
    with pytest.raises(UserError, match="'mine' is not on the hub; give a folder"):
        load_documents(suite, "hub", search=1, report=1, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("metric: exact_match", "metrik: exact_match"), "unknown key 'metrik'.*'metric'"),
        (("suite: mine", "suite: gsm8k"), "'gsm8k' is the name of a suite of ExMe's"),
        (("suite: mine", "suite: a,b"), "suite name 'a,b': expected letters"),
        (("suite: mine", "suite: all"), "suite name 'all'"),
        (("columns: [question, answer]", "columns: []"), "columns: "),
        ((OWN, "- a"), "expected keys and values, found list"),
        ((OWN, "{"), "not readable as a suite file"),
    ],
)
def test_a_suite_file_that_cannot_be_used_is_refused(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN.replace(*change))
    with pytest.raises(UserError, match=message):
        load_suite(str(path))


def test_a_missing_suite_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such suite file"):
        load_suite(str(tmp_path / "none.yaml"))
