"""What `exme init --from-mergekit` makes of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.study.study_file import StudyFile, load_study_file


def study_of(folder: Path, content: dict[str, Any] | str, *more: str) -> tuple[StudyFile, str]:
    """The study that `exme init --from-mergekit` writes, and what it says."""
    path, study = folder / "theirs.yml", folder / "mine.yaml"
    path.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    words = ["init", str(study), "--from-mergekit", str(path), "--force", *more]
    result = CliRunner().invoke(app, words)
    if result.exception is not None:
        raise result.exception
    return load_study_file(study), result.output
