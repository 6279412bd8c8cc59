"""What docs/security.md promises."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exme.search.cli.main import _run, app
from exme.search.merging.folders.recipe import materialise
from exme.search.reports.exports.export import export_best
from exme.search.reports.pages.report import write_report
from exme.search.running.search import open_search
from exme.search.storage.patience import hide_secrets
from exme.search.study.study_file import StudyFile
from exme.tasks.errors import UserError
from tests.helpers.malformed.given import MATERIALISE, STUDY, good_folder
from tests.helpers.searches.hearing import Hearing
from tests.helpers.services.postgres import Postgres, binaries_or_skip

PACKAGES = ("search", "evaluators", "tasks")
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    files = [f for part in (*PACKAGES, "benchmarks") for f in (root / part).rglob("*.py")]
    assert len(files) > 50
    for file in sorted(files):
        yield str(file.relative_to(root)), ast.parse(file.read_text(encoding="utf-8"))


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_no_module_imports_what_unpickles(root: Path) -> None:
    wrong = []
    for name, tree in modules(root):
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{name}: {n}" for n in names if n.partition(".")[0] in UNPICKLERS]
    assert not wrong


def test_no_call_reads_a_pickle_or_runs_a_text(root: Path) -> None:
    wrong = []
    for name, tree in modules(root):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called, given = dotted(node.func), {k.arg: k.value for k in node.keywords}
            if called in ("torch.load", "torch.save", "eval", "pd.read_pickle", "os.system"):
                wrong.append(f"{name}:{node.lineno}: {called}")
            # (the sandbox's child is what the sandbox is there for)
            if called == "exec" and name != "evaluators/sandbox/program.py":
                wrong.append(f"{name}:{node.lineno}: exec")
            if called in ("np.load", "numpy.load"):
                allowed = given.get("allow_pickle")
                if not (isinstance(allowed, ast.Constant) and allowed.value is False):
                    wrong.append(f"{name}:{node.lineno}: np.load without allow_pickle=False")
            if called == "yaml.load" and "_Loader" not in ast.dump(node):
                wrong.append(f"{name}:{node.lineno}: yaml.load")
            if isinstance(given.get("shell"), ast.Constant) and given["shell"].value:  # type: ignore[attr-defined]
                wrong.append(f"{name}:{node.lineno}: a shell")
    assert not wrong


# A whole search with report, export and recipe, in a process in which unpickling is fatal: Python
# announces every class or function that a pickle asks for.
_WATCHED = """
import sys, traceback
def watch(event, arguments):
    if event == "pickle.find_class":
        sys.stderr.write(f"unpickled {arguments}\\n" + "".join(traceback.format_stack()[-12:]))
        sys.stderr.flush()
        import os; os._exit(9)
sys.addaudithook(watch)
if sys.argv[1] == "control":
    import fractions, pickle
    pickle.loads(pickle.dumps(fractions.Fraction(1, 2)))
from exme.search.cli.main import _run, app
for line in sys.argv[1:]:
    code = _run(lambda: app(line.split(), prog_name="exme", standalone_mode=False))
    assert code == 0, line
"""


def watched(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WATCHED, *lines]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_whole_search_unpickles_nothing(tmp_path: Path) -> None:
    good_folder(tmp_path)
    opened = "study.yaml --runs runs"
    found = watched(
        tmp_path,
        f"search {opened} --trials 4",
        f"report {opened}",
        f"export {opened} --out best",
        "materialise best --models models --out again",
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert (tmp_path / "again" / "model.safetensors").is_file()
    assert (tmp_path / "runs" / "study-own" / "drafts.jsonl").is_file()


def test_the_watch_would_have_seen_it(tmp_path: Path) -> None:
    assert watched(tmp_path, "control").returncode == 9


def test_code_that_a_model_brings_is_not_run() -> None:
    assert StudyFile.model_fields["trust_remote_code"].default is False
    # That it is not: `config.json of all, code to be trusted` in test_bad_input.py.


# Paths in recipes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["../models/base", "/etc", "~", "models/../../models/base"])
def test_a_recipe_names_no_folder_outside(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    good_folder(inside)
    good_folder_outside = tmp_path / "models"
    (inside / "models").rename(good_folder_outside)
    (inside / "models").mkdir()
    text = (inside / "recipe.json").read_text().replace('"models/base"', f'"{place}"')
    (inside / "recipe.json").write_text(text)
    monkeypatch.chdir(inside)
    assert _run(lambda: app(list(MATERIALISE), prog_name="exme", standalone_mode=False)) == 2
    assert "--models" in capfd.readouterr().err
    assert not (inside / "out").exists()


def test_a_link_out_of_the_folder_is_followed_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = good_folder(tmp_path / "inside")
    (inside / "models" / "base").rename(tmp_path / "secret")
    (inside / "models" / "base").symlink_to(tmp_path / "secret")
    monkeypatch.chdir(inside)
    with pytest.raises(UserError, match="lies outside"):
        materialise(inside / "recipe.json", inside / "out", within=[inside])
    materialise(inside / "recipe.json", inside / "out", within=[tmp_path])


# Secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password", ["hunter2", "p@ss:w/rd", "a@b@c", "://", "%40?#&=", "***!", "'\"`\\", "me:me"]
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "mysql+pymysql", "redis"])
def test_a_password_in_a_url_is_never_shown(password: str, scheme: str) -> None:
    shown = hide_secrets(f"cannot reach {scheme}://me:{password}@db.example.org:5432/exme?a=b (no)")
    assert shown == f"cannot reach {scheme}://me:***@db.example.org:5432/exme?a=b (no)"


def test_a_password_in_the_storage_url_is_written_nowhere(tmp_path: Path) -> None:
    binaries = binaries_or_skip()
    folder = good_folder(tmp_path / "work")
    screen = Hearing()
    models = {name: str(folder / "models" / name) for name in ("math", "code")}
    with Postgres(binaries) as server:
        url = server.url.replace(":secret@", ":hunter2@")
        changed = {"storage": url, "base": str(folder / "models" / "base"), "checkpoints": models}
        own = {"suites": [str(folder / "own.yaml")], "data": str(folder / "data")}
        study = StudyFile.model_validate(STUDY | changed | own | {"budget": {"trials": 3}})
        with open_search(study, runs=folder / "runs", screen=screen) as search:
            outcome = search.run()
            write_report(outcome, search.folder, search.examples(outcome))
            export_best(search, folder / "best")
            facts = str(outcome.facts)
        dump = subprocess.run(
            [binaries / "pg_dump", "--data-only", server.url.replace("+psycopg", "")],
            capture_output=True,
            check=True,
        ).stdout
    assert b"candidate" in dump and b"hunter2" not in dump
    assert screen.lines and "hunter2" not in "\n".join(screen.lines)
    assert "hunter2" not in facts
    files = [f for f in folder.rglob("*") if f.is_file()]
    assert any(f.name == "report.html" for f in files) and any(f.name == "README.md" for f in files)
    for file in files:
        assert b"hunter2" not in file.read_bytes(), file
