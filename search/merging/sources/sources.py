"""The base and its checkpoints, as they are merged."""

from __future__ import annotations

from collections.abc import Mapping

from .adapter import Adapter, Source
from .checkpoint import Checkpoint
from .fit import check_fit
from .vocabulary import Union, WidenedAdapter, WidenedCheckpoint

VOCABULARY = "vocabulary"


class Sources:
    """The base and its checkpoints, checked against each other.

    Args:
        base: the base.
        checkpoints: the fine-tunes by name, in the study's order, and what directions made of them.
        union: merge vocabularies that differ by token string, instead of refusing them.

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
    ) -> None:
        self.base = base
        self.checkpoints = dict(checkpoints)
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
        for checkpoint in self.checkpoints.values():
            if isinstance(checkpoint, Checkpoint):  # the others were opened for this base
                check_fit(self.base, checkpoint, union=self.union is not None)

    @property
    def bytes(self) -> int:
        """Size of all sources in bytes."""
        return self.base.bytes + sum(c.bytes for c in self.checkpoints.values())

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
        for checkpoint in (self.base, *self.checkpoints.values()):
            checkpoint.unchanged.check()
