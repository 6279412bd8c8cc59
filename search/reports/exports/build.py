"""A merge that a person names, as a folder: without a search, and without a score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exme.search.directions import vectors
from exme.search.merging.folders import ExportResult, check_target, export_model, short_card
from exme.search.merging.sources import Sources, public_names
from exme.search.opening import open_sources
from exme.search.running import open_stored
from exme.search.scoring import choose_engine, settle_precision
from exme.search.study import Space, load_study_file, named_point


def build(
    study: Path,
    given: Mapping[str, float | str],
    out: str | Path,
    *,
    task: str | None = None,
    runs: Path,
    force: bool = False,
) -> ExportResult:
    """Write the merge that a point of a study's space makes, bit for bit what `exme score` scores.

    Args:
        study: the study file.
        given: see `named_point`.
        out: the folder to write.
        task: names the run, whose directions are used where the study has some.
        runs: folder of all runs.
        force: replace an earlier export there.

    Raises:
        UserError: the study or a name in `given` cannot be used, a direction is not computed yet, or the folder
            cannot be written.
    """
    content = load_study_file(study)
    point = named_point(content, given)
    has_vectors = bool(vectors(content.directions))
    sources: Sources = (
        open_stored(study, task, runs).sources if has_vectors else open_sources(content)
    )
    folder = Path(out).expanduser().resolve()
    check_target(folder, sources, force=force)
    engine = choose_engine(content, sources.base.config).name
    # (groups all have the same coefficients here, and are then no groups)
    space = Space(content.methods, list(point.coefficients), seed=content.sampler.seed)
    candidate = space.candidate(
        space.of_point(point),
        dtype=settle_precision(content, sources.base.dtype, engine).dtype,
        sources=sources.fingerprints,
    )
    names = public_names({"base": content.base, **content.checkpoints})
    return export_model(
        sources,
        candidate,
        folder,
        card=short_card(candidate, names, sources),
        names=names,
        force=force,
        code=content.trust_remote_code,
    )
