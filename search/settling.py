"""What a study's file leaves to be settled once its suites and documents are known."""

from __future__ import annotations

from collections.abc import Sequence

from exme.tasks.documents import SuiteDocuments

from .goal import Goal
from .objective import Objective
from .study_file import StudyFile


def settle_objective(
    study: StudyFile, documents: Sequence[SuiteDocuments], checkpoints: Sequence[str]
) -> Objective:
    """What a study maximises on these suites.

    Args:
        study: the study file.
        documents: of each suite that is searched on.
        checkpoints: their names.
    """
    suites = tuple(found.suite.suite for found in documents)
    return Objective(
        suites=suites,
        sizes=tuple(len(found.search) for found in documents),
        inputs=tuple(f"{name} alone" for name in checkpoints),
        goal=Goal(tuple(1 / len(suites) for _ in suites)),
        # Likelihoods per byte are at most 1, their logarithms at most 0.
        highest=0.0 if study.objective == "target_nll" else 1.0,
    )
