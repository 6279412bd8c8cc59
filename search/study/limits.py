"""A study with other limits than its file says: the options of a command, the arguments in Python."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from exme.tasks import UserError, did_you_mean, explain

from .study_file import StudyFile
from .study_sections import BudgetSection


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
