"""Study files: one YAML file says everything about a search."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from exme.evaluators.vllm import VllmSettings
from exme.search.directions import DIRECTIONS
from exme.search.merging.methods import METHODS
from exme.tasks import UserError, did_you_mean, explain, read_yaml

from .older import as_now
from .study_checks import (
    beside,
    check_budget,
    check_directions,
    check_goal,
    check_measure,
    check_methods,
    check_sampler,
    check_shift,
    check_starts,
    check_suites,
)
from .study_sections import (
    BudgetSection,
    ChatSection,
    DocumentsSection,
    Dtype,
    GroupsSection,
    RacingSection,
    SamplerSection,
    Section,
    ShiftSection,
    SpaceSection,
)
from .training_run import (
    NO_KEY,
    TrainingRunSection,
    as_searched,
    check_training_run,
    found_in_run,
    refuse_no_key,
)

# What a checkpoint may be called: names that mean something else in a study are reserved.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
RESERVED = ("base", "merged", "vocabulary", "method")


class StudyFile(Section):
    """A study, as its YAML file states it.

    Attributes:
        base: hub id, local folder or ``mini/<name>`` of the base; checkpoints likewise, by the
            names that the study gives them. Or a training run, ``{run: run/checkpoint-*, best: 2}``: its
            checkpoints are ranked, and so many are searched with (1 to 4; see docs/how-to/from-a-training-run.md).
        suites: suites that this study may search on, by name, or by the path of a suite file of
            your own, relative to the study file; the command line picks.
        also: further suites, on which the winner and the best input are scored after the proof: what else changed.
        data: ``hub``, ``mini``, or a folder of JSON lines.
        measure: what a document is scored by: each suite's own `metric`; `target_nll`, the
            log-likelihood of reference answers (a proxy; the report has the metric too); or `module:function`, a Python
            function of your own, beside the study file or on Python's path.
        run_generated_code: allow suites that run programs which the model writes, in the sandbox.
        max_gen_toks: most tokens of an answer, for all suites; null leaves it to them.
        method: a merge method, or several, among which the search chooses.
        groups: groups of tensors with coefficients of their own; without it there are none.
        starts: points that are tried first: coefficients by checkpoint, those left out 0, and the
            method's own parameters.
        vocabulary: ``same`` refuses checkpoints with other tokens than the base's, ``union`` merges
            vocabularies by token string.
        directions: methods of the literature that are computed once, before the first trial; each is
            a first trial, and those that give a task vector are searched as sources.
        residence: where the sources are kept; auto is the fastest place that has the room.
        sampler: who proposes; its name alone, or with a seed.
        racing: how candidates are compared before all of their documents are scored; ``off`` scores
            every candidate on all search documents.
        goal: what is maximised over several suites: the mean gain over the best inputs; the gain on the
            suite where it is lowest; the mean of the lowest ones (`cvar`); or all of them (`pareto`).
        weights: of suites in the mean, 1 where not named; 0 only watches a suite.
        tail: share of the suites that `cvar` is the mean over.
        keep: by how much a candidate must gain at least on a suite, in points (below 0: may lose at most).
        shift: a bound or a penalty on the shift from a parent, for methods that make plain sums.
        storage: URL of an Optuna storage; null is an SQLite file in the run's folder.
        track: where trials are copied for people to look at, beside the storage.
        dtype: dtype that candidates are rounded to and exported in; auto is the base's.
        compute_dtype: dtype that the model computes in; auto is float32 on the CPU, `dtype` else.
        engine: ``vllm`` serves large models on GPUs; ``fast`` gives lm-eval's answers sooner, on a CPU, where the
            architecture allows; ``stock`` is lm-eval's own model; ``auto`` is vllm where it is installed, knows
            the model and finds a GPU, else fast on a CPU, else stock.
        vllm: settings of the engine vllm.
    """

    base: str = Field(min_length=1)
    checkpoints: Mapping[str, str] = Field(min_length=1)
    method: str | tuple[str, ...] = "exme"
    groups: GroupsSection | None = None
    directions: tuple[str, ...] = ()
    starts: tuple[Mapping[str, float], ...] = ()
    space: SpaceSection = SpaceSection()
    suites: tuple[str, ...] = Field(default=("gsm8k",), min_length=1)
    also: tuple[str, ...] = ()
    data: str = "hub"
    documents: DocumentsSection = DocumentsSection()
    measure: str = "metric"
    run_generated_code: bool = False
    chat: ChatSection = ChatSection()
    max_gen_toks: int | None = Field(default=None, ge=1)
    sampler: SamplerSection = SamplerSection()
    racing: RacingSection | None = RacingSection()
    goal: Literal["mean", "worst", "cvar", "pareto"] = "mean"
    weights: Mapping[str, float] = {}
    tail: float = Field(default=0.5, gt=0, le=1)
    keep: Mapping[str, float] = {}
    shift: ShiftSection | None = None
    budget: BudgetSection = BudgetSection(trials=60, gain=0.5)
    storage: str | None = None
    track: tuple[Literal["wandb", "mlflow"], ...] = ()
    dtype: Dtype = "auto"
    compute_dtype: Dtype = "auto"
    device: str = "auto"
    vocabulary: Literal["same", "union"] = "same"
    residence: Literal["auto", "device", "host", "mapped"] = "auto"
    batch_size: int = Field(default=32, ge=1)
    engine: Literal["auto", "fast", "stock", "vllm"] = "auto"
    vllm: VllmSettings = VllmSettings()
    trust_remote_code: bool = False
    # (no key of its own: what `checkpoints` says of a training run)
    training_run: TrainingRunSection | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_training_run(cls, given: Any) -> Any:
        return found_in_run(given)

    @field_validator("suites", "also")
    @classmethod
    def _known_suites(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        check_suites(names, str(info.field_name))
        return names

    @field_validator("sampler", mode="before")
    @classmethod
    def _short_sampler(cls, sampler: Any) -> Any:
        return {"name": sampler} if isinstance(sampler, str) else sampler

    @field_validator("measure")
    @classmethod
    def _known_measure(cls, measure: str) -> str:
        check_measure(measure)
        return measure

    @field_validator("racing", mode="before")
    @classmethod
    def _switched(cls, racing: Any) -> Any:
        if racing is True or racing == "on":
            return {}
        return None if racing is False or racing == "off" else racing  # YAML reads off as false

    @model_validator(mode="after")
    def _fits_together(self) -> StudyFile:
        check_training_run(self)
        check_goal(self)
        check_sampler(self)
        check_shift(self)
        searched = as_searched(self)
        check_methods(searched)
        check_directions(searched)
        check_starts(searched)
        check_budget(self)
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """The merge methods, in order."""
        return (self.method,) if isinstance(self.method, str) else self.method

    @field_validator("method")
    @classmethod
    def _known_methods(cls, method: str | tuple[str, ...]) -> str | tuple[str, ...]:
        names = (method,) if isinstance(method, str) else method
        for name in names:
            if name not in METHODS:
                have = ", ".join(METHODS)
                raise ValueError(
                    f"method: no method '{name}' (have: {have}){did_you_mean(name, METHODS)}"
                )
        if not names or len(set(names)) != len(names):
            raise ValueError("method: give at least one method, and each of them once")
        return method

    @field_validator("directions")
    @classmethod
    def _known_directions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in DIRECTIONS:
                raise ValueError(
                    f"directions: no direction '{name}' (have: {', '.join(DIRECTIONS)})"
                    f"{did_you_mean(name, DIRECTIONS)}"
                )
        if len(set(names)) != len(names):
            raise ValueError("directions: give each of them once")
        return names

    @field_validator("checkpoints")
    @classmethod
    def _plain_names(cls, checkpoints: Mapping[str, str]) -> Mapping[str, str]:
        for name in checkpoints:
            if not re.fullmatch(NAME, name) or name in RESERVED:
                raise ValueError(
                    f"checkpoint name {name!r}: expected letters, digits, '_', '-' and '.', and "
                    f"none of {', '.join(RESERVED)}"
                )
        return checkpoints

    # The last, so that it is around all others.
    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, given: Any, check: ModelWrapValidatorHandler[StudyFile]) -> StudyFile:
        """Whoever makes a study, in a file or in Python, is told in one line what is wrong with it."""
        try:
            return check(given)
        except ValidationError as error:
            raise UserError(explain(error, cls, "studies/mini.yaml", (NO_KEY,))) from None


def load_study_file(path: Path) -> StudyFile:
    """Read and check a study file.

    ``EXME_DATA`` stands for the hub: it replaces `data` where the file says ``hub`` or nothing.

    Raises:
        UserError: not there, not YAML, or a key or value that cannot be used.
    """
    raw = read_yaml(path, absent="no such study file; `exme init` writes one")
    if not isinstance(raw, dict):
        raise UserError(
            f"{path}: expected keys and values, found {type(raw).__name__}; see studies/mini.yaml"
        )
    refuse_no_key(raw, path)
    for key in ("suites", "also"):
        if isinstance(raw.get(key), list):  # paths are meant from the study file's folder
            raw[key] = [
                str(path.parent / os.path.expanduser(name)) if _is_file_name(name) else name  # noqa: PTH111  (no error)
                for name in raw[key]
            ]
    if raw.get("data", "hub") == "hub" and os.environ.get("EXME_DATA"):
        raw["data"] = os.environ["EXME_DATA"]
    raw, told = as_now(raw)
    for sentence in told:
        print(f"{path}: {sentence}", file=sys.stderr)
    if isinstance(raw.get("measure"), str):
        raw["measure"] = beside(path, raw["measure"])
    try:
        return StudyFile.model_validate(raw)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith((".yaml", ".yml"))
