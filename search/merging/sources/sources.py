"""The base and its checkpoints, as they are merged."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .adapter import Adapter, Source
from .checkpoint import Checkpoint
from .fetched import Fetched
from .fit import check_fit
from .vocabulary import Union, WidenedAdapter, WidenedCheckpoint

VOCABULARY = "vocabulary"


class Sources:
    """The base and its checkpoints, checked against each other.

    Args:
        checkpoints: the fine-tunes by name, in the study's order, and what directions made of them.
        union: merge vocabularies that differ by token string, instead of refusing them.
        others: checkpoints that no candidate of the search is made of, such as those of a training run that were dropped:
            each is held only while a candidate that names it is made, in the place of the rest.

    Attributes:
        union: the merged vocabulary; None where all have the base's.

    Raises:
        UserError: they do not fit together; nothing has been loaded then.
    """

    def __init__(
        self,
        base: Checkpoint,
        checkpoints: Mapping[str, Source],
        *,
        union: bool = False,
        others: Mapping[str, Source] | None = None,
    ) -> None:
        self.base = base
        self.checkpoints = dict(checkpoints)
        self.others = dict(others or {})
        self.union: Union | None = None
        whole = {n: c for n, c in checkpoints.items() if isinstance(c, Checkpoint)}
        if union:
            found = Union(base, whole)
            self.union = found if found.changes else None
        if self.union is not None:
            self.base = WidenedCheckpoint(base, self.union)
            for name, checkpoint in checkpoints.items():
                if isinstance(checkpoint, Adapter):
                    self.checkpoints[name] = WidenedAdapter(checkpoint, self.base, base)
                if isinstance(checkpoint, Checkpoint):
                    self.checkpoints[name] = WidenedCheckpoint(checkpoint, self.union, self.base)
        for checkpoint in (*self.checkpoints.values(), *self.others.values()):
            if isinstance(
                checkpoint, Checkpoint
            ):  # adapters and directions were opened for this base
                check_fit(self.base, checkpoint, union=self.union is not None)

    @property
    def bytes(self) -> int:
        """Size in bytes of all sources that are held at once."""
        own = sum(c.bytes for c in self.checkpoints.values())
        return self.base.bytes + max(own, *(c.bytes for c in self.others.values()), 0)

    @property
    def every(self) -> dict[str, Source]:
        """All checkpoints by name, the others among them."""
        return {**self.checkpoints, **self.others}

    def only(self, names: Collection[str]) -> Sources:
        """The base with some of all checkpoints."""
        if not self.others:
            return self
        return Sources(self.base, {n: c for n, c in self.every.items() if n in names})

    def fetch(self, tensor: str, names: Collection[str] | None = None) -> Fetched:
        """A tensor of the base and of some of all checkpoints as files have it; by default of those that are merged."""
        every = self.every
        found = {n: every[n].tensor(tensor) for n in (self.checkpoints if names is None else names)}
        return Fetched(self.base.tensor(tensor), {n: v for n, v in found.items() if v is not None})

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of the base (key ``base``) and of every checkpoint.

        Of a merged vocabulary, too (key ``vocabulary``): it decides weights as they do.
        """
        found = {name: c.fingerprint for name, c in self.checkpoints.items()}
        if self.union is not None:
            found[VOCABULARY] = self.union.fingerprint
        return {"base": self.base.fingerprint, **found}

    def check_unchanged(self) -> None:
        """Refuse files that were changed since they were opened; costs a look at each file's times.

        Raises:
            UserError: names the file.
        """
        for checkpoint in (self.base, *self.every.values()):
            checkpoint.unchanged.check()
