"""ProDistill: layer by layer, weights that give all checkpoints' activations at once.

    theta[l] = theta_0[l] + sum_i a_i[l] * (theta_i[l] - theta_0[l])  elementwise,  a from 0.5
    a[l] minimises  sum_i mean || f(theta[l]; h) - f(theta_i[l]; h_i) ||^2

over the tokens of a few unlabelled prompts. h is what the merged layers below give, h_i what checkpoint i's own
give; both start at their own embeddings. When a layer is done, all go on to the next, so that no more
than one layer's weights, task vectors and a are in memory beside the live model.

Source: Xu, Li and Zhang 2025, arXiv:2502.12706, its layer-wise objective with merged and own inputs; Adam at rate 0.1 and 16 prompts are those of its
language experiments. Ours: every checkpoint is a teacher on every prompt; what is in no layer (embeddings,
last norm, output layer) is averaged; 20 steps, each of which is taken back, and the rate halved, where it
would raise the loss, so that the loss of a layer never rises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call

from exme.tasks import UserError

from .bench import Batch, Bench
from .direction import Found, Write

Weights = Mapping[str, torch.Tensor]

# A weight's own gradient is tiny; Adam's usual 1e-8 would stand in its place.
TINY = 1e-15


class ProDistill:
    """See the module.

    Attributes:
        start: of every a.
        steps: of Adam, for each layer; `rate` its rate.
    """

    start = 0.5
    steps = 20
    rate = 0.1

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""
        if decoder_layers(bench) is None:
            raise UserError(
                f"direction 'prodistill': {type(bench.model).__name__} has no list of "
                f"{bench.model.config.num_hidden_layers} layers that run one after the other; leave "
                f"it out of `directions`"
            )

    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        layers = decoder_layers(bench)
        assert layers is not None
        named = {id(live): name for name, live in bench.live.items()}
        inside = {named[id(p)] for layer in layers for p in layer.parameters() if id(p) in named}
        outside = [tensor for tensor in bench.tensors if tensor not in inside]
        share = 1 / len(bench.names)
        for tensor in outside:
            deltas = bench.deltas(tensor)
            write(tensor, sum(deltas.values(), torch.zeros(())) * share)
        streams = self._embed(bench, layers, outside, share)
        losses: list[float] = []
        for number, layer in enumerate(layers):
            own = {n: named[id(p)] for n, p in layer.named_parameters() if id(p) in named}
            task = LayerTask.of(bench, layer, number, own, streams)
            targets = task.targets()
            a, history = self._train(task, targets)
            losses += history
            for name, tensor in own.items():
                write(tensor, (a[name] * task.deltas[name]).sum(0))
            task.advance(task.merged(a), targets)
        # Of every layer: each checkpoint once, the merge once a step, at the start, and once more.
        bench.passes += len(bench.examples) * (len(bench.names) + self.steps + 2)
        return Found(
            losses=tuple(losses),
            settings={"steps": self.steps, "rate": self.rate, "start": self.start},
        )

    @torch.no_grad()
    def _embed(
        self,
        bench: Bench,
        layers: torch.nn.ModuleList,
        outside: Sequence[str],
        share: float,
    ) -> list[Stream]:
        """What goes into the first layer, of the merge and of every checkpoint."""
        streams = [Stream(batch, {}, []) for batch in bench.batches()]
        for who in ("merged", *bench.names):
            if who == "merged":
                bench.mix(lambda _, __: share, outside)
            else:
                bench.load(who, outside)
            for stream in streams:
                if not stream.extra:
                    stream.extra = _arguments(bench, layers, stream.batch)
                stream.hidden[who] = _embedded(bench, layers[0], stream.batch)
        return streams

    def _train(
        self, task: LayerTask, targets: Sequence[Mapping[str, torch.Tensor]]
    ) -> tuple[dict[str, torch.Tensor], list[float]]:
        """a of one layer, and its loss at the start and after each step."""
        a = {name: torch.full_like(d, self.start) for name, d in task.deltas.items()}
        value, slopes = task.gradient(a, targets)
        scale, history = value or 1.0, [1.0 if value else 0.0]
        adam = torch.optim.Adam(list(a.values()), lr=self.rate, eps=TINY)
        for _ in range(self.steps):
            before = {name: values.clone() for name, values in a.items()}
            for name, values in a.items():
                values.grad = slopes[name] / scale
            adam.step()
            now, following = task.gradient(a, targets)
            if now <= value:
                value, slopes = now, following
            else:
                for name, values in a.items():
                    values.copy_(before[name])
                adam.param_groups[0]["lr"] /= 2
            history.append(value / scale)
        return a, history


@dataclass
class Stream:
    """A batch on its way through the layers.

    Attributes:
        batch: the batch.
        hidden: what goes into the next layer, by ``merged`` and checkpoint, shape (b, t, features).
        extra: further arguments of every layer: positions, masks.
    """

    batch: Batch
    hidden: dict[str, torch.Tensor]
    extra: list[dict[str, Any]]


@dataclass(frozen=True)
class LayerTask:
    """One layer to be distilled.

    Attributes:
        names: the checkpoints.
        module: the layer; `number` its place.
        base: its weights by their names in it; `deltas`: shape (k, *weight), of k checkpoints.
        streams: the batches before the layer.
    """

    names: tuple[str, ...]
    module: torch.nn.Module
    number: int
    base: Weights
    deltas: Weights
    streams: Sequence[Stream]

    @classmethod
    def of(
        cls,
        bench: Bench,
        module: torch.nn.Module,
        number: int,
        own: Mapping[str, str],
        streams: Sequence[Stream],
    ) -> LayerTask:
        """Fetch a layer's weights; `own` are its tensors' names in files by those in it."""
        base = {name: bench.base(tensor) for name, tensor in own.items()}
        deltas = {
            name: torch.stack(list(bench.deltas(tensor).values())) for name, tensor in own.items()
        }
        return cls(bench.names, module, number, base, deltas, streams)

    def merged(self, a: Weights) -> dict[str, torch.Tensor]:
        """The layer's weights at `a`."""
        return {
            name: base + (a[name] * self.deltas[name]).sum(0) for name, base in self.base.items()
        }

    def _run(self, weights: Weights, stream: Stream, who: str) -> torch.Tensor:
        live = dict(self.module.named_parameters())
        cast = {name: values.to(live[name].dtype) for name, values in weights.items()}
        extra = stream.extra[self.number]
        out = functional_call(self.module, cast, (stream.hidden[who],), extra)
        found: torch.Tensor = out[0] if isinstance(out, tuple) else out
        return found

    @torch.no_grad()
    def targets(self) -> list[dict[str, torch.Tensor]]:
        """Every checkpoint's activations after the layer, for each batch."""
        found: list[dict[str, torch.Tensor]] = [{} for _ in self.streams]
        for i, name in enumerate(self.names):
            weights = {n: base + self.deltas[n][i] for n, base in self.base.items()}
            for target, stream in zip(found, self.streams, strict=True):
                target[name] = self._run(weights, stream, name)
        return found

    def gradient(
        self, a: Weights, targets: Sequence[Mapping[str, torch.Tensor]]
    ) -> tuple[float, dict[str, torch.Tensor]]:
        """The loss at `a` and its gradient."""
        leaves = {name: values.detach().requires_grad_() for name, values in a.items()}
        tokens = sum(int(stream.batch.mask.sum()) for stream in self.streams)
        total = 0.0
        slopes = {name: torch.zeros_like(values) for name, values in a.items()}
        with torch.enable_grad():
            for stream, target in zip(self.streams, targets, strict=True):
                out = self._run(self.merged(leaves), stream, "merged")
                mask = stream.batch.mask
                value = sum(
                    (
                        (out - teacher)[mask].to(next(iter(a.values())).dtype).square().sum()
                        for teacher in target.values()
                    ),
                    torch.zeros((), device=out.device),
                )
                value = value / (tokens * out.shape[-1])
                found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
                for name, slope in zip(leaves, found, strict=True):
                    if slope is not None:
                        slopes[name] += slope
                total += float(value.detach())
        return total, slopes

    @torch.no_grad()
    def advance(self, merged: Weights, targets: Sequence[Mapping[str, torch.Tensor]]) -> None:
        """Take all streams through the layer; `targets` are the checkpoints' after it."""
        for stream, target in zip(self.streams, targets, strict=True):
            hidden = {"merged": self._run(merged, stream, "merged"), **target}
            stream.hidden.update(hidden)


def decoder_layers(bench: Bench) -> torch.nn.ModuleList | None:
    """The model's layers, which run one after the other; None where there is no such list."""
    count = bench.model.config.num_hidden_layers
    lists = (m for m in bench.model.modules() if isinstance(m, torch.nn.ModuleList))
    return next((m for m in lists if len(m) == count), None)


class _Stop(Exception):
    """The model need not go on."""


def _arguments(bench: Bench, layers: torch.nn.ModuleList, batch: Batch) -> list[dict[str, Any]]:
    """What each layer is called with beside the hidden states; one forward pass."""
    found: list[dict[str, Any]] = []

    def note(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append({key: value for key, value in kwargs.items() if key != "hidden_states"})

    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        bench.logits(batch, 1)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _embedded(bench: Bench, first: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """What goes into the first layer."""
    found: list[torch.Tensor] = []

    def note(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[0] if args else kwargs["hidden_states"])
        raise _Stop

    hook = first.register_forward_pre_hook(note, with_kwargs=True)
    try:
        bench.logits(batch, 1)
    except _Stop:
        bench.passes -= len(batch.examples)
    finally:
        hook.remove()
    return found[0]
