"""What a study may be measured by: a name that ExMe knows, or a function of the user's."""

from __future__ import annotations

import re
from pathlib import Path

from exme.tasks import did_you_mean

MEASURES = ("metric", "target_nll")
_OWN = re.compile(r".*[\w/]:[^\W\d]\w*", re.DOTALL)


def measure_of_ones_own(measure: str) -> bool:
    """Whether a measure is a function, ``module:function``."""
    return _OWN.fullmatch(measure) is not None


def check_measure(measure: str) -> None:
    """Refuse what is neither, with a ValueError."""
    if measure not in MEASURES and not measure_of_ones_own(measure):
        raise ValueError(
            f"measure: '{measure}' is none (have: {', '.join(MEASURES)}, or module:function of your own)"
            f"{did_you_mean(measure, MEASURES)}"
        )


def beside(path: Path, measure: str) -> str:
    """A function's module as a file, where it stands beside a study file."""
    module, separator, function = measure.rpartition(":")
    if not separator or not re.fullmatch(r"\w+(\.\w+)*", module):
        return measure
    file = path.parent / f"{module.replace('.', '/')}.py"
    return f"{file.resolve()}:{function}" if file.is_file() else measure
