"""The merge itself: base + sum_i c_i * m_i(theta_i - base), tensor by tensor, from the sources.

A candidate says how every tensor is made (`Merger.instructions`); equal instructions make equal bits,
so a tensor that holds what an instruction says already need not be made again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from exme.search.merging.arithmetic import FactBook, Finite, Operand, TensorFacts, kernel
from exme.search.merging.methods.method import Merge, Term
from exme.search.merging.sources import Delta, Fetched, LowRank, Residence

from .arithmetic import plain
from .candidate import Candidate
from .groups import Groups
from .methods import METHODS

# From so many elements on, compiling the kernel pays within a few candidates.
WORTH_COMPILING = 2**26


class Merger:
    """Makes tensors of candidates.

    Args:
        dtype: what results are rounded to, once.
        compiled: use the compiled kernel where it takes a merge.
    """

    def __init__(self, residence: Residence, dtype: torch.dtype, *, compiled: bool) -> None:
        self._residence = residence
        self._dtype = dtype
        self._kernel = kernel() if compiled else None
        self._book = FactBook(self._delta, residence.room, frugal=residence.frugal)
        self._fetched: dict[str, Fetched] = {}

    def _delta(self, tensor: str, checkpoint: str) -> Delta:
        if tensor not in self._fetched:  # asked for once more by the next checkpoint
            self._fetched = {tensor: self._residence.fetch(tensor, torch.device("cpu"))}
        return self._fetched[tensor].delta(checkpoint)

    def instructions(self, candidate: Candidate, tensors: Sequence[str]) -> dict[str, Merge]:
        """How each tensor of a candidate is made, by its name.

        Facts that a method needs and nobody has asked for are found out on the way.

        Args:
            tensors: floating-point tensors.
        """
        method = METHODS[candidate.method]
        groups = Groups(candidate.groups, tensors) if candidate.groups else None
        found = {}
        for tensor in tensors:
            coefficients = candidate.coefficients
            if groups is not None:
                coefficients = candidate.grouped[groups.of(tensor)]
            active = {n: coefficients[n] for n in sorted(coefficients) if coefficients[n] != 0.0}
            facts = self._book.of(tensor, candidate.seed)
            if active:
                found[tensor] = method.instruct(active, candidate.parameters, facts)
            else:
                found[tensor] = Merge(())
        self._fetched = {}
        return found

    def write(
        self, tensor: str, part: slice, merge: Merge, found: Fetched, out: torch.Tensor
    ) -> Finite:
        """Make a part of a tensor.

        Args:
            part: which of its elements.
            found: these elements of all sources, flat, on the device of `out`.
            out: what is written, flat; in a dtype at least as wide as the merge's.

        Returns:
            Whether all that was written is finite; a GPU's answer is on the GPU.
        """
        origin = merge.copy_of
        if origin is not None:
            source = found.checkpoints.get(origin, found.base) if origin != "base" else found.base
            if isinstance(source, torch.Tensor):
                return self._run(out, source, (), elects=False, index=part.start)
        facts = self._book.of(tensor, 0)
        operands = [
            _operand(term, part, found, facts)
            for term in merge.terms
            if merge.elects or term.checkpoint in found.checkpoints
        ]
        return self._run(out, found.base, operands, elects=merge.elects, index=part.start)

    def whole(self, tensor: str, shape: Sequence[int], merge: Merge | None) -> torch.Tensor:
        """A whole tensor on the CPU, made from the sources part by part.

        Args:
            shape: of the base's.
            merge: how; None takes the base's as it is.

        Raises:
            FloatingPointError: a weight is not finite; names the tensor.
        """
        here = torch.device("cpu")
        if merge is None:
            return self._residence.fetch(tensor, here).base
        out = torch.empty(tuple(shape), dtype=self._dtype, device=here)
        for _, part, found in self._residence.stream([(tensor, here)]):
            if not self.write(tensor, part, merge, found, out.view(-1)[part]):
                raise FloatingPointError(f"tensor '{tensor}' of the candidate is not finite")
        return out

    def _run(
        self,
        out: torch.Tensor,
        base: torch.Tensor,
        operands: Sequence[Operand],
        *,
        elects: bool,
        index: int,
    ) -> Finite:
        built = self._kernel
        if built is not None and built.takes(out, base, operands, self._dtype):
            return built.merge(out, base, operands, elects=elects, dtype=self._dtype, index=index)
        return plain.merge(out, base, operands, elects=elects, dtype=self._dtype, index=index)


def _operand(term: Term, part: slice, found: Fetched, facts: TensorFacts) -> Operand:
    """A term's elements, as the arithmetic takes them."""
    values = found.checkpoints.get(term.checkpoint, found.base)
    ranks = None
    if term.mask.slope:
        ranks = facts.ranks(term.checkpoint)[part].to(found.base.device)
    if isinstance(values, LowRank):
        delta = values.delta().reshape(-1)
        return Operand(delta, term.coefficient, term.mask, ranks, is_delta=True)
    return Operand(values, term.coefficient, term.mask, ranks)
