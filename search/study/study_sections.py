"""The sections of a study file, and other limits than its budget says; the file itself is `study_file`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from exme.tasks import UserError, did_you_mean, explain

if TYPE_CHECKING:
    from .study_file import StudyFile

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def _holds_truth(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return any(map(_holds_truth, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, bool)


class Section(BaseModel):
    """A frozen part of a study file; keys that it does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, about: ValidationInfo) -> Any:
        """`trials: yes` is a slip, which Python would take for 1."""
        kinds = str(cls.model_fields[about.field_name or ""].annotation)
        is_number = re.search(r"\b(int|float)\b", kinds) and not re.search(
            r"bool|Any|Section", kinds
        )
        if is_number and _holds_truth(value):
            raise PydanticCustomError("number", "input should be a number")
        return value


# Published extrapolation strengths reach 25 (arXiv:2404.16792); beyond it a model says nothing.
LOWEST, HIGHEST = -5.0, 30.0


class SpaceSection(Section):
    """Bounds of the effective coefficients.

    Attributes:
        coefficients: lowest and highest coefficient of a checkpoint; 0 leaves it out, 1 takes its
            whole task vector, above 1 extrapolates.
    """

    coefficients: tuple[float, float] = (0.0, 2.4)

    @model_validator(mode="after")
    def _ordered(self) -> SpaceSection:
        low, high = self.coefficients
        if not low < high:
            raise ValueError(
                f"coefficients: expected [low, high] with low < high, found {low, high}"
            )
        if low < LOWEST or high > HIGHEST:
            raise ValueError(
                f"coefficients: expected bounds within {LOWEST:g} and {HIGHEST:g}, found {low, high}"
            )
        return self


class DocumentsSection(Section):
    """How many documents to search and to report on; null is all there are."""

    search: int | None = Field(default=256, ge=1)
    report: int | None = Field(default=None, ge=1)
    seed: int = 0


# All but `auto`, which is our own, are made by `proposing.sampler.SAMPLERS`.
SAMPLER_NAMES = ("auto", "gp", "cmaes", "tpe", "qmc", "random")


class SamplerSection(Section):
    """Who proposes points after the known ones, and the seed of its random choices."""

    name: str = "auto"
    seed: int = Field(default=0, ge=0)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SAMPLER_NAMES:
            have = ", ".join(SAMPLER_NAMES)
            raise ValueError(
                f"sampler: name '{name}' is no sampler (have: {have}){did_you_mean(name, SAMPLER_NAMES)}"
            )
        return name


class RacingSection(Section):
    """Candidates are scored chunk by chunk, and losers are rejected.

    Attributes:
        error_rate: bound on the chance that a candidate as good as the incumbent is stopped.
        chunk: documents that are scored together, and after which is looked.
    """

    error_rate: float = Field(default=0.05, gt=0, lt=1)
    chunk: int = Field(default=32, ge=1)


class ShiftSection(Section):
    """How far candidates may be shifted from a parent, relative to the parent's own distance from the base.

    Attributes:
        parent: the checkpoint from which it is measured; null is the nearest.
        bound: highest shift allowed; 0 is the parent, 1 as far from it as it is from the base.
        penalty: points that the search takes off for a shift of 1 (in the metric's own unit for target_nll).
    """

    parent: str | None = None
    bound: float | None = Field(default=None, gt=0)
    penalty: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _some(self) -> ShiftSection:
        if self.bound is None and self.penalty is None:
            raise ValueError("shift: set bound, penalty or both")
        return self


class GroupsSection(Section):
    """Groups of tensors that have coefficients of their own; exactly one of these.

    Attributes:
        blocks: so many blocks of consecutive layers.
        kinds: ``attention``, ``mlp``, ``embeddings``, ``norms``; the others share one group.
        patterns: label and tensor-name globs of each group; the others share one group.
    """

    blocks: int | None = Field(default=None, ge=2)
    kinds: tuple[str, ...] | None = Field(default=None, min_length=1)
    patterns: Mapping[str, tuple[str, ...]] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> GroupsSection:
        if len(self.spec) != 1:
            raise ValueError("groups: set exactly one of blocks, kinds, patterns")
        return self

    @property
    def spec(self) -> dict[str, Any]:
        """As `search.merging.groups.Groups` takes it: plain JSON types."""
        found: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return found


class BudgetSection(Section):
    """When the search ends: at whichever of these comes first.

    Attributes:
        trials: candidates tried; another look at one of them is none.
        documents: search documents scored.
        minutes: of scoring, added up over all workers.
        hours: on the clock, from the command to the verdict, however many workers there are; all sittings of a search together.
        gain: more documents are expected to bring less than this, in points (in the metric's own unit for
            target_nll).
    """

    trials: int | None = Field(default=None, ge=1)
    documents: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    hours: float | None = Field(default=None, gt=0)
    gain: float | None = Field(default=None, gt=0)


class ChatSection(Section):
    """How prompts are put to a chat model; the names are lm-eval's.

    Attributes:
        apply_chat_template: render prompts by the base's chat template.
        system_instruction: system prompt.
        fewshot_as_multiturn: few-shot examples as turns of the conversation.
    """

    apply_chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = True


def with_limits(study: StudyFile, limits: Mapping[str, float | None]) -> StudyFile:
    """A study, some limits of its budget replaced.

    Args:
        limits: by their names in `budget`; None leaves the study's.

    Raises:
        UserError: there is no such limit, or it cannot have this value.
    """
    known = list(BudgetSection.model_fields)
    for name in limits:
        if name not in known:
            raise UserError(
                f"budget: '{name}' is no limit (have: {', '.join(known)}){did_you_mean(name, known)}"
            )
    given = {name: value for name, value in limits.items() if value is not None}
    try:
        budget = BudgetSection.model_validate({**study.budget.model_dump(), **given})
    except ValidationError as error:
        raise UserError(f"budget: {explain(error, BudgetSection, 'studies/mini.yaml')}") from None
    return study.model_copy(update={"budget": budget}) if given else study
