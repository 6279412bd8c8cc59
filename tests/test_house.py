"""What the tree keeps to: a test for every module, tests apart from each other, rooms and functions of a size to read."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

# Modules of search/ that have no test file of their name, by the test that runs them.
COVERED_BY: Mapping[str, str] = {
    "docs/test_blocks.py": "cli/looking cli/making cli/preparing",
    "journeys/test_budget_spent.py": "proposing/box proposing/policy proposing/untried",
    "journeys/test_distributed.py": "running/loop storage/heartbeat storage/lock storage/recovery",
    "journeys/test_failures.py": "storage/backend scoring/worker",
    "journeys/test_goal_searches.py": "proposing/sampler",
    "journeys/test_interrupts.py": "running/interrupts",
    "journeys/test_proofs.py": "proof/proving proof/outcome",
    "journeys/test_races.py": "proposing/assignment proposing/auto racing/field running/round trials/lineup trials/race_log",
    "journeys/test_screens.py": "cli/doctor reports/terminal/events reports/terminal/live reports/terminal/status running/screen",
    "search/cli/test_main.py": "cli/options cli/searching",
    "search/directions/test_closed_forms.py": "directions/gradient_matching directions/regmean",
    "search/directions/test_directions.py": "directions/catalogue directions/direction",
    "search/directions/test_learnt.py": "directions/adamerging directions/bench directions/coefficients directions/losses "
    "directions/np_merge directions/prodistill",
    "search/merging/arithmetic/test_compiled.py": "merging/arithmetic/plain",
    "search/merging/arithmetic/test_tensor_tables.py": "merging/arithmetic/draws merging/sources/fetched",
    "search/merging/folders/test_staging.py": "merging/folders/model_folder",
    "search/merging/methods/test_methods.py": "merging/methods/breadcrumbs merging/methods/dare merging/methods/della "
    "merging/methods/exme merging/methods/expo merging/methods/linear merging/methods/method merging/methods/model_stock "
    "merging/methods/slerp merging/methods/task_arithmetic merging/methods/ties",
    "search/merging/sources/test_adapter.py": "merging/sources/adapter_settings",
    "search/merging/sources/test_checkpoint.py": "merging/sources/fit merging/sources/settings merging/sources/unchanged merging/sources/weight_files",
    "journeys/test_kept_runs.py": "storage/read_only",
    "search/merging/sources/test_vocabulary.py": "merging/sources/sources",
    "search/opening/test_first_stage.py": "proof/left_out proof/training_curve reports/pages/training_sections",
    "search/opening/test_kinship.py": "merging/sources/trained_on",
    "search/opening/test_workshop.py": "directions/prompts scoring/live_model",
    "search/running/test_report_documents.py": "proof/also",
    "search/running/test_stored_search.py": "storage/run_folders",
    "search/proof/test_gain.py": "proof/finals",
    "search/reports/dashboard/test_annotate.py": "reports/dashboard/notes reports/dashboard/study_note scoring/answers",
    "search/reports/exports/test_selection.py": "reports/exports/gguf reports/exports/publish",
    "search/reports/exports/test_model_card.py": "reports/exports/licences",
    "search/reports/pages/test_html_report.py": "proof/examples reports/pages/charts",
    "search/reports/pages/test_plots.py": "reports/pages/colours reports/pages/scene reports/pages/plane_chart",
    "search/reports/pages/test_report.py": "reports/pages/proof_sections reports/pages/search_sections reports/pages/section",
    "search/reports/terminal/test_panel.py": "reports/terminal/plane_map running/view",
    "search/running/test_comparing.py": "cli/compare",
    "search/running/test_by_hand.py": "cli/by_hand reports/exports/build study/named_point",
    "search/running/test_search.py": "opening/joining opening/opening opening/provenance opening/settling "
    "proposing/history proposing/plan proposing/proposal proposing/settled running/opened_search",
    "search/running/test_forecast.py": "running/announcing",
    "search/running/test_hours.py": "trials/clock trials/pace",
    "search/statistics/test_paired.py": "statistics/combine",
    "search/storage/test_storage.py": "storage/packing storage/records storage/stored_study storage/study_record",
    "search/study/test_from_mergekit.py": "study/mergekit_file",
    "search/study/test_init.py": "study/study_text",
    "search/study/test_study_file.py": "study/older study/study_sections study/suites",
    "search/trials/test_shift.py": "opening/gram",
    "search/proposing/test_allocation.py": "trials/believed",
    "search/trials/test_standing.py": "trials/trial",
    "vllm/test_merging.py": "merging/vllm/layout merging/vllm/plugin merging/vllm/transfer",
    "vllm/test_search.py": "scoring/served_model",
}

LARGEST_MODULE = 300  # lines
LARGEST_FUNCTION = 50  # lines without its docstring
LARGEST_FOLDER = 15  # entries; twelve is the aim

CODE = ("search", "evaluators", "tasks")


def modules(*folders: str) -> list[Path]:
    return [path for name in folders for path in sorted((ROOT / name).rglob("*.py"))]


def test_every_module_of_search_has_a_test() -> None:
    of_its_name: set[str] = set()
    without: set[str] = set()
    for path in modules("search"):
        name = path.relative_to(ROOT / "search").with_suffix("")
        if path.stem != "__init__":
            test = ROOT / "tests" / "search" / name.with_name(f"test_{name.name}.py")
            (of_its_name if test.is_file() else without).add(name.as_posix())
    told = [name for names in COVERED_BY.values() for name in names.split()]
    assert not without - set(told), "neither a test of its name nor a line in COVERED_BY"
    assert not set(told) - without, "there is no such module, or it has a test of its name"
    assert len(set(told)) == len(told)
    assert not [test for test in COVERED_BY if not (ROOT / "tests" / test).is_file()]


def test_tests_are_where_their_modules_are() -> None:
    """In rooms and folders that are there; what is of several modules stands in their folder."""
    for name in CODE:
        for test in (ROOT / "tests" / name).rglob("test_*.py"):
            assert (ROOT / test.parent.relative_to(ROOT / "tests")).is_dir(), test


@pytest.mark.parametrize("kind", ["test", "conftest"])
def test_no_test_imports_a_test(kind: str) -> None:
    importing = re.compile(rf"^\s*(from|import) [\w.]*\b{kind}(_\w+)?\b", re.MULTILINE)
    for path in modules("tests", "benchmarks"):
        assert not importing.search(path.read_text(encoding="utf-8")), path


def test_modules_and_functions_can_be_read() -> None:
    for path in modules(*CODE):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= LARGEST_MODULE, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                docstring = node.body[0] if ast.get_docstring(node) else None
                own = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
                lines = (node.end_lineno or 0) - node.lineno + 1 - own
                assert lines <= LARGEST_FUNCTION, f"{path}: {node.name} has {lines} lines"


def test_folders_can_be_read() -> None:
    for name in (*CODE, "tests"):
        for folder in (ROOT / name, *(p for p in (ROOT / name).rglob("*") if p.is_dir())):
            if {"data", "models", "__pycache__"} & set(folder.parts):
                continue
            entries = {p.name for p in folder.iterdir()} - {
                "__init__.py",
                "__init__.pyi",
                "__pycache__",
                "py.typed",
            }
            assert len(entries) <= LARGEST_FOLDER, f"{folder}: {len(entries)} entries"


def test_an_ignored_type_says_why() -> None:
    for path in modules(*CODE):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "# type: ignore" in line:
                assert re.search(r"# type: ignore\[[\w, -]+\]  ?\S+", line), f"{path}: {line}"


def test_rooms_are_entered_by_their_faces() -> None:
    """What a room gives to others stands in its `__init__`; its modules are imported by each other alone."""
    importing = re.compile(r"^\s*from (exme\.\w+\.\w+)(\.[\w.]+) import", re.MULTILINE)
    for path in modules(*CODE):
        room = ".".join(("exme", *path.relative_to(ROOT).with_suffix("").parts[:2]))
        for other, inside in importing.findall(path.read_text(encoding="utf-8")):
            module = ROOT / Path(*f"{other}{inside}".split(".")[1:]).with_suffix(".py")
            assert other == room or not module.is_file(), f"{path}: {other}{inside}"
