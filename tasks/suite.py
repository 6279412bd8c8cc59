"""A suite: which lm-eval task, which documents to search on and which to report on."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from .errors import UserError, did_you_mean


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HubData(_Frozen):
    """Where the data set lives on the hub: `datasets.load_dataset(path, name)`."""

    path: str
    name: str | None = None


class Fewshot(_Frozen):
    """Fixed few-shot examples: the first `count` documents of `split`."""

    split: str
    count: int = Field(ge=0)


class SplitRef(_Frozen):
    """A split of the data set from which documents are taken."""

    split: str


class MiniForm(_Frozen):
    """What differs in the suite's mini form."""

    fewshot: int = Field(ge=0)


class Suite(_Frozen):
    """One downstream suite, as its file under ``tasks/`` states it.

    Attributes:
        suite: the suite's name.
        version: raised whenever a score could change; `changes` says why.
        lm_eval_task: name of the stock lm-eval task that judges.
        metric: lm-eval's metric; `filter` is the lm-eval filter whose answers it scores.
        columns: columns that every document must have.
        fewshot: fixed examples, taken from the head of a split and never scored.
        search: split from which search documents come; `report` likewise, a different one.
    """

    suite: str
    version: int
    title: str
    lm_eval_task: str
    metric: str
    filter: str
    hub: HubData
    columns: tuple[str, ...]
    fewshot: Fewshot
    search: SplitRef
    report: SplitRef
    mini: MiniForm
    changes: dict[int, str]

    @property
    def metric_name(self) -> str:
        """Metric and filter as lm-eval's results file writes them: ``exact_match,strict-match``."""
        return f"{self.metric},{self.filter}"

    def fewshot_count(self, *, mini: bool) -> int:
        """Number of few-shot examples, in the real or the mini form."""
        return self.mini.fewshot if mini else self.fewshot.count


def suite_names() -> list[str]:
    """Names of the suites that ship with the package, sorted."""
    files = (f.name for f in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def load_suite(name: str) -> Suite:
    """Read a suite's file.

    Raises:
        UserError: there is no such suite.
    """
    known = suite_names()
    if name not in known:
        have = ", ".join(known)
        raise UserError(f"no suite '{name}' (have: {have}){did_you_mean(name, known)}")
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    raw: dict[str, Any] = yaml.safe_load(text)
    return Suite.model_validate(raw)
