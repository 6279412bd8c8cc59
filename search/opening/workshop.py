"""Computing a study's directions, once: in the run's folder, and known to all workers by the storage.

A direction is made in a hidden folder that is renamed when it is whole. What it was made of stands beside
it; a folder that was made of something else is made anew.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exme.search.directions import DIRECTIONS, About, direction_of
from exme.search.merging import Groups
from exme.search.merging.sources import (
    RECORD,
    VECTOR,
    Checkpoint,
    Sources,
    TaskVector,
    VectorFile,
    read_json,
    sync,
)
from exme.tasks import SuiteDocuments, UserError

if TYPE_CHECKING:
    from exme.search.directions import Examples, Found
    from exme.search.scoring import Precision
    from exme.search.storage import Storage
    from exme.search.study import StudyFile

FOLDER = "directions"
# Raised when a method's numbers change, so that an old result is not taken for a new one.
VERSION = 1


@dataclass(frozen=True)
class Computed:
    """A study's directions, computed.

    Attributes:
        vectors: task vectors by name, as sources.
        records: what was computed, by name; JSON, as ``direction.json`` holds it.
    """

    vectors: Mapping[str, TaskVector] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Workshop:
    """Computes the directions of one study.

    Args:
        documents: of each suite; only search documents are read.
        say: writes a line.
    """

    def __init__(
        self,
        study: StudyFile,
        sources: Sources,
        documents: Sequence[SuiteDocuments],
        precision: Precision,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.study, self.sources, self.documents = study, sources, documents
        self.precision, self.folder, self._say = precision, folder / FOLDER, say

    def present(self) -> Computed | None:
        """The directions as the folder holds them; None where one is missing."""
        records = {}
        for name in self.study.directions:
            record = self._record(name)
            if record is None:
                return None
            records[name] = record
        return Computed(vectors_in(self.folder.parent, records, self.sources.base), records)

    def compute(self) -> Computed:
        """The directions; those that are missing are computed. Call under the study's lock.

        Raises:
            UserError: a method does not apply, or what was computed cannot be written.
        """
        for partial in self.folder.glob(".*.partial-*"):  # of processes that died as they computed
            shutil.rmtree(partial, ignore_errors=True)
        for name in self.study.directions:
            if self._record(name) is None:
                self._compute(DIRECTIONS[name])
        found = self.present()
        assert found is not None
        return found

    def _made_of(self, about: About) -> dict[str, Any]:
        """What decides a direction, all but the examples: they follow from the documents."""
        made: dict[str, Any] = {**self.sources.fingerprints, "version": VERSION}
        if about.needs != "nothing":
            made["documents"] = [found.fingerprint for found in self.documents]
            made["chat"] = self.study.chat.model_dump()
            made["compute"] = self.precision.compute
        if about.gives == "coefficients":
            made["groups"] = self.study.groups.spec if self.study.groups is not None else None
            made["bounds"] = list(self.study.space.coefficients)
        return made

    def _record(self, name: str) -> dict[str, Any] | None:
        """The record of a direction that is there, whole, and made of what it should be."""
        place = self.folder / name
        needed = [RECORD] + [VECTOR] * (DIRECTIONS[name].gives == "vector")
        if not all((place / file).is_file() for file in needed):
            return None
        record = read_json(place / RECORD)
        return record if record.get("made_of") == self._made_of(DIRECTIONS[name]) else None

    def _compute(self, about: About) -> None:
        place = self.folder / about.name
        partial = self.folder / f".{about.name}.partial-{os.getpid()}"
        start = time.perf_counter()
        self._say(f"Computing direction {about.name} ({about.title}) ...")
        partial.mkdir(parents=True)
        try:
            record = self._make(about, partial)
            seconds = time.perf_counter() - start
            record["seconds"] = round(seconds, 3)
            (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")
            sync(partial / RECORD)
            sync(partial)
            shutil.rmtree(place, ignore_errors=True)
            partial.rename(place)
            sync(self.folder)
        except FloatingPointError as error:
            raise UserError(
                f"direction '{about.name}': {error}; leave it out of `directions`"
            ) from None
        except OSError as error:
            raise UserError(f"{place}: could not be written ({error})") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._say(f"Direction {about.name}: {_told(record)}, {seconds:.1f} s.")

    def _make(self, about: About, partial: Path) -> dict[str, Any]:
        import torch  # noqa: PLC0415

        from exme.search.directions import Bench  # noqa: PLC0415

        direction, scratch = direction_of(about.name), partial / "scratch"
        scratch.mkdir()
        spec = self.study.groups.spec if self.study.groups is not None else None
        bench = Bench(
            self.sources,
            compute=getattr(torch, self.precision.compute),
            device=torch.device(self.precision.device),
            scratch=scratch,
            trust_remote_code=self.study.trust_remote_code,
            bounds=self.study.space.coefficients,
            rows=min(8, self.study.batch_size),
        )
        if spec is not None:
            bench.groups = Groups(spec, bench.tensors)
        used = self._examples(about, bench)
        if used is not None:
            bench.examples = used.examples
        direction.check(bench)
        vector = None
        if about.gives == "vector":
            wide = self.sources.base.dtype in ("float32", "float64")
            vector = VectorFile(partial / VECTOR, bench.shapes, wide=wide)
        found = direction.compute(bench, vector.write if vector else _nothing)
        if vector is not None:
            vector.close()
        passes = bench.passes
        del bench
        gc.collect()
        shutil.rmtree(scratch)
        return {
            "direction": about.name,
            "made_of": self._made_of(about),
            **_as_json(found),
            "documents": list(used.documents) if used is not None else [],
            "passes": passes,
            "sha256": _sha256(partial / VECTOR) if vector is not None else "",
        }

    def _examples(self, about: About, bench: Any) -> Examples | None:
        if about.needs == "nothing":
            return None
        from exme.evaluators.harness import StockEngine  # noqa: PLC0415  (loads lm-eval)
        from exme.search.directions import examples_for, pick  # noqa: PLC0415
        from exme.search.scoring import chat_of  # noqa: PLC0415

        stock = StockEngine(bench.model, bench.tokenizer, bench.rows)
        chat = chat_of(self.study, bench.tokenizer, stock.apply_chat_template)
        return examples_for(about, pick(self.documents), stock, chat)


def _as_json(found: Found) -> dict[str, Any]:
    return {
        "coefficients": dict(found.coefficients),
        "grouped": {label: dict(values) for label, values in found.grouped.items()},
        "losses": list(found.losses),
        "settings": dict(found.settings),
    }


def _told(record: Mapping[str, Any]) -> str:
    """A record in a few words."""
    parts = []
    if record["coefficients"]:
        parts.append(" ".join(f"{name} {c:.2f}" for name, c in record["coefficients"].items()))
    if record["losses"]:
        parts.append(f"loss {record['losses'][0]:.4g} to {record['losses'][-1]:.4g}")
    count = len(record["documents"])
    parts.append(f"{count} search documents" if count else "no documents")
    return ", ".join(parts)


def _nothing(name: str, _: object) -> None:
    raise ValueError(f"tensor '{name}': a direction that gives coefficients writes none")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def vectors_in(folder: Path, directions: Iterable[str], base: Checkpoint) -> dict[str, TaskVector]:
    """The task vectors that directions have left in a run's folder."""
    return {
        name: TaskVector(name, folder / FOLDER / name, base)
        for name in directions
        if DIRECTIONS[name].gives == "vector"
    }


def agree(computed: Computed, storage: Storage, folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """The records of a study's directions, the same for all of its workers.

    Another machine may compute other bits: what was written to the storage first counts.

    Raises:
        UserError: a task vector here is not the one that the study was begun with.
    """
    kept = ("sha256", "coefficients", "grouped")
    mine = {name: {k: record[k] for k in kept} for name, record in computed.records.items()}
    agreed: Mapping[str, Mapping[str, Any]] = storage.record.agree_on("directions", mine)
    for name in computed.vectors:
        if agreed[name]["sha256"] != mine[name]["sha256"]:
            place = folder / FOLDER / name
            raise UserError(
                f"direction '{name}': {place} holds another task vector than the one that study "
                f"'{storage.name}' was begun with (SHA-256 {mine[name]['sha256'][:16]}, expected "
                f"{agreed[name]['sha256'][:16]}); copy that folder from the machine that began it"
            )
    return agreed
