"""A suite: which lm-eval tasks, which documents to search on and which to report on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import UserError, did_you_mean, one_line
from .explained import explain
from .lm_eval_task import members_of_group, members_of_tag, suite_of_task, task_names
from .yaml_file import read_yaml


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HubData(_Frozen):
    """Where the data set lives on the hub: `datasets.load_dataset(path, name)`.

    Attributes:
        path: the data set's id.
        name: its configuration; where the suite has subsets, each subset is one.
    """

    path: str
    name: str | None = None


class Fewshot(_Frozen):
    """Fixed few-shot examples.

    Attributes:
        count: number of examples.
        split: the examples are the first documents of this split, and never scored; None where
            lm-eval's task brings examples of its own.
        own: questions of those examples, where they come from the suite's own data: a document that
            reads the same is never scored.
    """

    count: int = Field(ge=0)
    split: str | None = None
    own: tuple[str, ...] = ()


class SplitRef(_Frozen):
    """A split of the data set from which documents are taken.

    Attributes:
        split: its name.
        otherwise: the split to take where the data has no such split.
    """

    split: str
    otherwise: str | None = None


class Published(_Frozen):
    """Documents of the published data set, few-shot examples left out."""

    search: int
    report: int


class MiniForm(_Frozen):
    """What differs in the suite's mini form; what is left out is as in the real one.

    Attributes:
        lm_eval_tasks: the part of the suite's lm-eval tasks that has mini data.
        fewshot: its few-shot examples.
        max_gen_toks: see `Suite`; the mini models have room for little more.
    """

    lm_eval_tasks: dict[str, str | None] | None = Field(default=None, min_length=1)
    fewshot: Fewshot | None = None
    max_gen_toks: int | None = Field(default=None, ge=1)


class Suite(_Frozen):
    """One downstream suite, as its file under ``tasks/`` states it.

    Where search and report documents come from one split, a seeded half of it is for the search and
    the other for the report.

    Attributes:
        suite: the suite's name.
        version: raised whenever a score could change; `changes` says why.
        lm_eval_tasks: the stock lm-eval tasks that judge, each with the subset of the data that is
            its own; None where the data has no subsets.
        metric: lm-eval's metric, a mean over documents; `filter` is the lm-eval filter whose answers it scores.
        higher_is_better: the metric's direction; None leaves it to the lm-eval task, which states one.
        columns: columns that every document must have.
        fewshot: the few-shot examples.
        hub: where the data set lives on the hub; None where it lives in folders only.
        published: how many documents there are in the published data set.
        folder: the suite's folder in a data folder; the suite's name by default.
        question: the columns whose text tells documents apart; by default the first of `columns`.
        reference: template (Jinja, over the document's columns) of the reference answer that
            `target_nll` measures, with what stands between prompt and answer; None is the lm-eval
            task's own target.
        references_from_inputs: whether documents without a column `reference` get one from what the
            study's checkpoints answer right, where a search goes by `target_nll`.
        lm_eval_folder: folder with lm-eval task files beside lm-eval's own.
        max_gen_toks: most tokens of an answer; None leaves it to the lm-eval task.
        runs_code: whether answers are programs that must be run to be scored.
        needs: packages beside ExMe's own, as pip names them.
        mini: the suite's mini form; None where there is none yet.
        of_lm_eval: made by rule of one of lm-eval's tasks (`suite_of_task`).
    """

    suite: str
    version: int = 1
    title: str = ""
    lm_eval_tasks: dict[str, str | None] = Field(min_length=1)
    metric: str
    filter: str = "none"
    higher_is_better: bool | None = None
    columns: tuple[str, ...] = ()
    fewshot: Fewshot
    hub: HubData | None = None
    published: Published | None = None
    folder: str | None = None
    question: tuple[str, ...] = ()
    reference: str | None = None
    references_from_inputs: bool = False
    lm_eval_folder: str | None = None
    search: SplitRef
    report: SplitRef
    max_gen_toks: int | None = Field(default=None, ge=1)
    runs_code: bool = False
    needs: tuple[str, ...] = ()
    mini: MiniForm | None = None
    changes: dict[int, str] = Field(default_factory=dict)
    of_lm_eval: bool = False

    @field_validator("suite")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.()-]*", name) or name == "all":
            raise ValueError(
                f"suite name '{name}': expected letters, digits, '_', '-', '.' and brackets, not 'all'"
            )
        return name

    @model_validator(mode="after")
    def _known_columns(self) -> Suite:
        if not self.columns and not self.of_lm_eval:
            raise ValueError("columns: name the columns that every document must have")
        unknown = [column for column in self.question if column not in self.columns]
        if unknown:
            raise ValueError(
                f"question: column '{unknown[0]}' is not in columns (have: {', '.join(self.columns)})"
            )
        return self

    def question_of(self, row: Mapping[str, Any]) -> list[Any]:
        """What a document is told apart by."""
        columns = self.question or self.columns[:1] or tuple(row)
        return [row[column] for column in columns]

    @property
    def metric_name(self) -> str:
        """Metric and filter as lm-eval's results file writes them: ``exact_match,strict-match``."""
        return f"{self.metric},{self.filter}"

    def mini_form(self) -> Suite:
        """The suite as it is used on its mini data.

        Raises:
            UserError: it has none.
        """
        if self.mini is None:
            raise UserError(
                f"suite '{self.suite}' has no mini form; set `data` to hub or to a folder of JSON "
                f"lines"
            )
        changed = {
            name: getattr(self.mini, name)
            for name in MiniForm.model_fields
            if getattr(self.mini, name) is not None
        }
        return self.model_copy(update=changed)


def suite_names() -> list[str]:
    """Names of the suites that ship with the package, sorted."""
    files = (f.name for f in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def load_suite(name: str) -> Suite:
    """Read a suite's file.

    Args:
        name: a suite that ships with the package, the path of a YAML file, or one of lm-eval's tasks.

    Raises:
        UserError: there is no such suite, or its file cannot be used.
    """
    if name.endswith((".yaml", ".yml")):
        return _read_own(Path(name))
    known = suite_names()
    if name not in known:
        made = suite_of_task(name)
        if made is not None:
            return Suite.model_validate(made)
        members = members_of_group(name)
        kind = "group" if members else "tag"
        members = members or members_of_tag(name)
        if members:
            raise UserError(
                f"suite '{name}' is a {kind} of lm-eval's tasks; name some of them: {one_line(', '.join(members), 300)}"
            )
        have, near = ", ".join(known), did_you_mean(name, known) or did_you_mean(name, task_names())
        raise UserError(
            f"no suite '{name}', nor a task of lm-eval's (have: {have}; of lm-eval's: exme suites --all)"
            f"{near}"
        )
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    raw: dict[str, Any] = yaml.safe_load(text)
    return Suite.model_validate(raw)


def _read_own(path: Path) -> Suite:
    """A suite of the user's; its name must not be that of one of ours."""
    raw = read_yaml(path, absent="no such suite file", what="a suite file")
    if not isinstance(raw, dict):
        raise UserError(
            f"{path}: expected keys and values, found {type(raw).__name__}; docs/suites.md has an "
            f"example"
        )
    try:
        suite = Suite.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, Suite, 'docs/suites.md')}") from None
    if suite.suite in suite_names():
        raise UserError(f"{path}: '{suite.suite}' is the name of a suite of ExMe's; give another")
    if suite.lm_eval_folder is not None:
        folder = (path.parent / Path(suite.lm_eval_folder).expanduser()).resolve()
        if not folder.is_dir():
            raise UserError(f"{path}: lm_eval_folder: {folder} is no folder")
        suite = suite.model_copy(update={"lm_eval_folder": str(folder)})
    return suite
