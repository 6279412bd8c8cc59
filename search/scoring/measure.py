"""A measure of one's own: a Python function that scores a model document by document.

    def brevity(model, tokenizer, documents):
        return [...]  # a number for each document

    brevity.bounds = (0, 1)             # optional: scores lie within, so that a gain can be proved
    brevity.higher_is_better = False    # optional

`model` is the candidate as a transformers model, `tokenizer` its tokenizer, `documents` a list of `exme.tasks.Document` (`id`, `task`, `row`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from exme.evaluators import BOUNDED, DocumentScores, Scale
from exme.search.study import measure_of_ones_own
from exme.tasks import SuiteDocuments, UserError, did_you_mean


@dataclass(frozen=True)
class Measure:
    """A function as a measure.

    Attributes:
        name: ``module:function``.
        function: of a model, its tokenizer and documents.
        is_bounded: whether its scores are declared to lie between 0 and 1.
        higher_is_better: of its scores.
        digest: SHA-256 of the file that it stands in.
    """

    name: str
    function: Callable[[Any, Any, list[Any]], Any]
    is_bounded: bool
    higher_is_better: bool
    digest: str

    @property
    def metric(self) -> str:
        """As scores name it."""
        return self.name + (BOUNDED if self.is_bounded else "")

    @property
    def scale(self) -> Scale:
        """How its values and scores become each other."""
        return Scale.of(self.metric, self.higher_is_better)

    @property
    def told(self) -> str:
        """What people are to know of it."""
        way = "higher" if self.higher_is_better else "lower"
        bounds = (
            "between 0 and 1"
            if self.is_bounded
            else "without bounds, so that no gain can be proved"
        )
        return f"Measure: {self.name}, {way} is better, {bounds}."

    def score(
        self,
        model: Any,
        tokenizer: Any,
        documents: SuiteDocuments,
        split: str,
        chosen: Sequence[int] | None = None,
    ) -> DocumentScores:
        """Scores of a model on documents of a suite.

        Args:
            model: a transformers model.
            tokenizer: its own.
            split: ``search`` or ``report``.
            chosen: positions of documents in the split; all by default.

        Raises:
            UserError: the function raised, or gave no number for a document, or one beyond its bounds.
            ValueError: a score is not finite.
        """
        every = documents.of(split)
        asked = [every[i] for i in (range(len(every)) if chosen is None else chosen)]
        try:
            with torch.no_grad():
                given = self.function(model, tokenizer, list(asked))
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001  (whatever a function of the user's makes of a model)
            reason = " ".join(str(error).split())
            raise UserError(
                f"measure {self.name}: raised {type(error).__name__}: {reason}"
            ) from None
        values = self._numbers(given, len(asked))
        return DocumentScores(
            suite=documents.suite.suite,
            split=split,
            metric=self.metric,
            documents=tuple(document.id for document in asked),
            values=tuple(self.scale.turn(value) for value in values),
            seed=documents.seed,
            higher_is_better=self.higher_is_better,
        )

    def _numbers(self, given: Any, count: int) -> list[float]:
        if isinstance(given, torch.Tensor):
            given = given.detach().cpu().tolist()
        try:
            found = [None if isinstance(value, str) else float(value) for value in given]
        except (TypeError, ValueError):
            found = [None]
        if None in found:
            kind = type(given).__name__
            raise UserError(
                f"measure {self.name}: gave {kind} {str(given)[:60]!r}, expected one number for each of {count} documents"
            )
        values = [value for value in found if value is not None]
        if len(values) != count:
            raise UserError(
                f"measure {self.name}: gave {len(values)} scores for {count} documents; expected one for each, in their order"
            )
        beyond = [v for v in values if np.isfinite(v) and not 0 <= v <= 1]
        if self.is_bounded and beyond:
            raise UserError(
                f"measure {self.name}: gave {beyond[0]:g}, which is beyond its bounds (0, 1); scale its scores, or take "
                f"`bounds` off the function"
            )
        return values

    def seconds_per_document(self, model: Any, tokenizer: Any, documents: SuiteDocuments) -> float:
        """Measured on up to eight search documents, after a first."""
        count = min(8, len(documents.search))
        self.score(model, tokenizer, documents, "search", [0])
        start = time.perf_counter()
        self.score(model, tokenizer, documents, "search", range(count))
        return (time.perf_counter() - start) / count


def load_measure(measure: str) -> Measure | None:
    """The function that a study's `measure` names; None for ``metric`` and ``target_nll``.

    Args:
        measure: ``module:function`` of a module on Python's path, or ``file.py:function``.

    Raises:
        UserError: there is no such module or function, it cannot be imported, or what it states cannot be used.
    """
    if not measure_of_ones_own(measure):
        return None
    place, _, name = measure.rpartition(":")
    file = Path(place) if place.endswith(".py") else None
    told = f"{file.stem if file else place}:{name}"
    try:
        module = importlib.import_module(place) if file is None else _from_file(file, _stamp(file))
    except Exception as error:  # noqa: BLE001  (a module of the user's may raise any)
        absent = isinstance(error, ModuleNotFoundError) and error.name == place
        reason = (
            "no such module beside the study file or on Python's path"
            if absent
            else f"cannot be imported ({type(error).__name__}: {' '.join(str(error).split())})"
        )
        raise UserError(f"measure: '{measure}': {reason}") from None
    found = getattr(module, name, None)
    if not callable(found):
        have = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        what = "is no function" if hasattr(module, name) else "is not there"
        raise UserError(
            f"measure: '{name}' {what} in {file or place} (have: {', '.join(have) or 'none'}){did_you_mean(name, have)}"
        )
    bounds = getattr(found, "bounds", None)
    if bounds is not None and tuple(bounds) != (0, 1):
        raise UserError(
            f"measure {told}: bounds are {bounds!r}, expected (0, 1) or none; scale its scores"
        )
    source = getattr(module, "__file__", None)
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    higher = bool(getattr(found, "higher_is_better", True))
    return Measure(told, found, bounds is not None, higher, digest)


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=8)
def _from_file(file: Path, stamp: tuple[int, int]) -> ModuleType:
    """A module by its file; it finds others beside it."""
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
