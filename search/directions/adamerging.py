"""AdaMerging: the coefficients at which the model is surest of its predictions on unlabelled prompts.

    base + sum_i c[i, g(t)] (theta_i[t] - base[t]),   c minimises the mean entropy of the predictions

Task-wise there is one c per checkpoint (or the study's own groups), which the search takes as a starting point;
layer-wise there is one for every checkpoint and layer, far more than a search can vary, so the sum is
a task vector of its own. Coefficients start at 0.3 and stay within [0, 1].

Source: Yang et al. 2024, arXiv:2310.02575, the entropy objective of its task-wise and layer-wise forms, its start at 0.3 and Adam. Ours: 20
steps of rate 0.05 over all examples in the place of 500 of rate 0.001 over batches of 16; [0, 1], because
entropy alone falls without end as a model is extrapolated; a document's prediction is its first token.
"""

from __future__ import annotations

import torch

from exme.search.merging import Groups
from exme.tasks import UserError

from .bench import Bench
from .coefficients import Learnt, learn
from .direction import Found, Write
from .losses import answer_nll, entropy


class TaskWise:
    """See the module.

    Attributes:
        start: of every coefficient; `steps` and `rate` of Adam.
    """

    start = 0.3
    steps = 20
    rate = 0.05

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""

    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        return as_found(self.learn(bench, bench.groups), self.settings)

    def learn(self, bench: Bench, groups: Groups | None) -> Learnt:
        """Coefficients by group."""
        return learn(
            bench,
            entropy,
            start=self.start,
            bounds=(0.0, 1.0),
            steps=self.steps,
            rate=self.rate,
            groups=groups,
        )

    @property
    def settings(self) -> dict[str, float]:
        """What the record says."""
        return {"start": self.start, "steps": self.steps, "rate": self.rate}


class LayerWise(TaskWise):
    """The same with coefficients for every layer, made into a task vector."""

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""
        if bench.model.config.num_hidden_layers < 2:
            raise UserError(
                "direction 'adamerging_layers': the base has one layer; use `adamerging`"
            )

    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        layers = Groups({"blocks": bench.model.config.num_hidden_layers}, bench.tensors)
        learnt = self.learn(bench, layers)
        for tensor in bench.tensors:
            deltas = bench.deltas(tensor)
            mine = learnt.coefficients[layers.of(tensor)]
            total = torch.zeros_like(next(iter(deltas.values())))
            for name, delta in deltas.items():
                total += mine[name] * delta
            write(tensor, total)
        return Found(losses=learnt.losses, settings=self.settings)


class WarmStart:
    """Gradient warm start: the coefficients at which reference answers are likeliest.

    The same machinery with another loss, that of `measure: target_nll`, on a few search documents: c minimises the
    mean of -log p(answer | prompt) / bytes. It starts at the checkpoints' mean, and stays within the study's bounds of
    coefficients.

    Source: none.

    Attributes:
        steps: of Adam; `rate` its rate.
    """

    steps = 20
    rate = 0.05

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""

    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        learnt = learn(
            bench,
            answer_nll,
            start=1 / len(bench.names),
            bounds=bench.bounds,
            steps=self.steps,
            rate=self.rate,
            groups=bench.groups,
        )
        return as_found(learnt, {"steps": self.steps, "rate": self.rate})


def as_found(learnt: Learnt, settings: dict[str, float]) -> Found:
    """Starting coefficients, and their means over the groups where there are any."""
    found = learnt.coefficients
    first = next(iter(found.values()))
    means = {name: sum(c[name] for c in found.values()) / len(found) for name in first}
    return Found(means, found if "" not in found else {}, learnt.losses, settings)
