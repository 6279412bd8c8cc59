"""RegMean: every linear layer is the regression to all checkpoints' outputs on their own inputs.

    W = (sum_i G_i)^-1 sum_i G_i W_i,   G_i = X_i^T X_i, off-diagonal elements times 0.9

X_i are the inputs of the layer (tokens by features) in checkpoint i's own forward pass, W is features by
outputs; in deltas the same holds, and is what is computed: torch stores W^T, so delta = (sum_i delta_i G_i)
(sum_i G_i)^-1. All other tensors are averaged: norms, biases, embeddings, and the output layer where it is
tied to them.

Source: Jin et al. 2023, arXiv:2212.09849, its closed form for a linear layer, and its scaling of off-diagonals (0.9 served most models). Ours:
each checkpoint's inputs come from the same search prompts, for which checkpoint belongs to which suite is
not known; a millionth of the mean diagonal is added to each G_i, so that a feature that is never on is averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch

from exme.tasks import UserError

from .bench import Batch, Bench
from .direction import Found, Write


class RegMean:
    """See the module.

    Attributes:
        factor: of the off-diagonal elements.
        ridge: share of the mean diagonal that is added to the diagonal.
        gram_bytes: memory for the sums G_i of a pass; more layers take more passes.
    """

    factor = 0.9
    ridge = 1e-6
    gram_bytes = 2**30

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""
        if not linear_layers(bench):
            raise UserError(
                f"direction 'regmean': {type(bench.model).__name__} has no torch.nn.Linear layers "
                f"whose weights are in its files; leave it out of `directions`"
            )

    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        layers = linear_layers(bench)
        for tensor in bench.tensors:
            if tensor not in layers:
                deltas = bench.deltas(tensor)
                write(tensor, sum(deltas.values(), torch.zeros(())) / len(deltas))
        for part in self._parts(bench, layers):
            self._regress(bench, part, write)
        return Found(settings={"factor": self.factor, "ridge": self.ridge})

    def _parts(
        self, bench: Bench, layers: Mapping[str, torch.nn.Linear]
    ) -> Iterator[dict[str, torch.nn.Linear]]:
        """Layers whose G_i are found in one pass."""
        part: dict[str, torch.nn.Linear] = {}
        size = 0
        for tensor, layer in layers.items():
            rows, columns = bench.shapes[tensor]
            # The sum, one checkpoint's, and the right-hand side.
            needed = bench.real.itemsize * (2 * columns * columns + rows * columns)
            if part and size + needed > self.gram_bytes:
                yield part
                part, size = {}, 0
            part[tensor] = layer
            size += needed
        yield part

    @torch.no_grad()
    def _regress(self, bench: Bench, layers: Mapping[str, torch.nn.Linear], write: Write) -> None:
        left: dict[str, torch.Tensor] = {}
        right: dict[str, torch.Tensor] = {}
        means: dict[str, torch.Tensor] = {}
        for who in bench.names:
            bench.load(who)
            for tensor, gram in grams(bench, layers).items():
                gram.mul_(self.factor).diagonal().div_(self.factor)
                delta = bench.deltas(tensor)[who]
                for sums, value in (
                    (left, gram),
                    (right, delta @ gram),
                    (means, delta / len(bench.names)),
                ):
                    sums[tensor] = sums[tensor] + value if tensor in sums else value
        for tensor in layers:
            total, target = left.pop(tensor).double(), right.pop(tensor).double()
            mean = float(total.diagonal().mean())
            small = self.ridge * mean if mean else 1.0  # (no input at all: average)
            total.diagonal().add_(small)
            target.add_(means.pop(tensor).double(), alpha=small)
            write(tensor, torch.linalg.solve(total, target, left=False))


def linear_layers(bench: Bench) -> dict[str, torch.nn.Linear]:
    """Linear layers by their weights' names; not an output layer that is the embedding once more."""
    named = {id(live): name for name, live in bench.live.items()}
    embedding = bench.model.get_input_embeddings()
    shared = id(getattr(embedding, "weight", None))
    return {
        named[id(module.weight)]: module
        for module in bench.model.modules()
        if isinstance(module, torch.nn.Linear)
        and id(module.weight) in named
        and id(module.weight) != shared
    }


@torch.no_grad()
def grams(bench: Bench, layers: Mapping[str, torch.nn.Linear]) -> dict[str, torch.Tensor]:
    """X^T X of every layer's inputs over all tokens of all prompts, in the live model as it is."""
    found: dict[str, torch.Tensor] = {}
    now: list[Batch] = []

    def watch(tensor: str, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x, mask = inputs[0], now[-1].mask
        x = x[mask] if x.shape[:-1] == mask.shape else x.reshape(-1, x.shape[-1])
        gram = x.to(bench.real).T @ x.to(bench.real)
        found[tensor] = found[tensor] + gram if tensor in found else gram

    # The output layer sees what logits are asked for; without it, a large vocabulary's are not made.
    has_head = bench.model.get_output_embeddings() in layers.values()
    hooks = [
        layer.register_forward_pre_hook(partial(watch, tensor)) for tensor, layer in layers.items()
    ]
    try:
        for batch in bench.batches():
            now.append(batch)
            bench.logits(batch, batch.ids.shape[1] if has_head else 1)
    finally:
        for hook in hooks:
            hook.remove()
    return found
