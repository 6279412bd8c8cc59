"""What there is to search on: the suites that a task names, and for `exme suites` what each needs."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from exme.evaluators.sandbox import require_run_generated_code
from exme.tasks import Suite, UserError, did_you_mean, load_documents, load_suite, task_names

from .study_file import StudyFile


def pick_suites(study: StudyFile, task: str, where: str) -> list[Suite]:
    """The suites that a task names, in the study's order."""
    known = {suite.suite: suite for suite in map(load_suite, study.suites)}
    wanted = list(known) if task == "all" else [name.strip() for name in task.split(",")]
    for name in wanted:
        if name not in known:
            try:
                known[name] = load_suite(name)
            except UserError as error:
                raise UserError(
                    f"{where}: suite '{name}' is not in suites (have: {', '.join(known)})"
                    f"{did_you_mean(name, known) or f'; {error}'}"
                ) from None
    picked = [suite for name, suite in known.items() if name in wanted]
    for suite in picked:
        if suite.runs_code:
            require_run_generated_code(study.run_generated_code, suite.suite, where)
    return picked


def suites_table(suites: Sequence[Suite], data: str) -> Table:
    """A table of suites with their documents in `data`: ``mini``, ``hub`` or a folder."""
    if data not in ("hub", "mini") and not Path(data).expanduser().is_dir():
        raise UserError(f"data: no folder {data}; give hub, mini or a folder of JSON lines")
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ["suite", "version", "metric", "shots", f"search ({data})", f"report ({data})"]
    for name in [*columns, "published search / report", "splits", "needs"]:
        table.add_column(name, overflow="fold")
    for suite in suites:
        searched, reported = _counts(suite, data)
        form = suite.mini_form() if data == "mini" and suite.mini else suite
        published = suite.published
        table.add_row(
            suite.suite,
            str(suite.version),
            suite.metric_name.replace(",", ", "),
            str(form.fewshot.count),
            searched,
            reported,
            f"{published.search} / {published.report}" if published else "–",
            _splits(suite),
            _needs(suite),
        )
    return table


def tasks_table(pattern: str) -> Table:
    """A table of lm-eval's tasks, as suites by rule, whose names hold a text or match it (``*``, ``?``).

    Raises:
        UserError: there is none.
    """
    known = task_names()
    wanted = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    names = fnmatch.filter(known, wanted)
    if not names:
        raise UserError(f"no task of lm-eval's is named {pattern}{did_you_mean(pattern, known)}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("lm-eval task", "metric", "shots", "splits (search / report)", "data set"):
        table.add_column(column, overflow="fold")
    for name in names:
        try:
            suite = load_suite(name)
        except (
            UserError,
            ValueError,
        ):  # a task without splits, or one that is not read by this rule
            table.add_row(name, "–", "–", "–", "–")
            continue
        data = "–" if suite.hub is None else f"{suite.hub.path} {suite.hub.name or ''}".strip()
        cells = (name, suite.metric, str(suite.fewshot.count), _splits(suite), data)
        table.add_row(*map(escape, cells))
    return table


def _counts(suite: Suite, data: str) -> tuple[str, str]:
    try:
        found = load_documents(suite, data, search=None, report=None, seed=0)
    except UserError:
        return "–", "–"
    return str(len(found.search)), str(len(found.report))


def _splits(suite: Suite) -> str:
    searched, reported = suite.search.split, suite.report.split
    if searched == reported:
        return f"seeded halves of {searched}"
    if suite.search.otherwise == reported:
        return f"{searched} / {reported} (halves of {reported} without {searched})"
    return f"{searched} / {reported}"


def _needs(suite: Suite) -> str:
    needs = [escape(package) for package in suite.needs]
    if suite.runs_code:
        needs.append("run_generated_code: true")
    return ", ".join(needs) or "nothing more"
