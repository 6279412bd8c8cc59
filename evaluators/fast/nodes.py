"""Shared nodes are computed once per candidate, when the first request below them needs them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from .memory import Budget
from .passes import forward
from .prefix_tree import Leaf, Node
from .profile import Profile
from .rows import Piece


def prepare(
    model: PreTrainedModel, leaves: Sequence[Leaf], budget: Budget, profile: Profile
) -> None:
    """Compute the keys and values of all nodes that leaves hang on.

    Args:
        model: the resident model, inside `shared_prefix_attention`.
        leaves: in the order of the tree.
        budget: how many tokens a pass may take.
        profile: filled.
    """
    missing: dict[int, list[Node]] = {}
    for leaf in leaves:
        for depth, node in enumerate(leaf.chain):
            if node.keys is None and node not in missing.setdefault(depth, []):
                missing[depth].append(node)
    for _, nodes in sorted(missing.items()):
        batch: list[Node] = []
        for node in nodes:
            if len(node.tokens) > budget.pass_tokens:
                _compute_in_parts(model, node, budget, profile)
                continue
            size = sum(len(other.tokens) for other in batch)
            if batch and size + len(node.tokens) > budget.pass_tokens:
                _compute(model, batch, profile)
                batch = []
            batch.append(node)
        _compute(model, batch, profile)


def _compute_in_parts(model: PreTrainedModel, node: Node, budget: Budget, profile: Profile) -> None:
    """A node of more tokens than a pass may take: as nodes that follow each other, then put together."""
    parts: list[Node] = []
    for first in range(0, len(node.tokens), budget.pass_tokens):
        tokens = node.tokens[first : first + budget.pass_tokens]
        parts.append(Node(tokens, node.start + first, parts[-1] if parts else node.parent))
        _compute(model, parts[-1:], profile)
    sides = (
        [torch.cat(layer, 1) for layer in zip(*(getattr(p, side) for p in parts), strict=True)]
        for side in ("keys", "values")
    )
    node.keys, node.values = sides


def _compute(model: PreTrainedModel, nodes: Sequence[Node], profile: Profile) -> None:
    """One pass over nodes whose parents are computed."""
    if not nodes:
        return
    pieces = [
        Piece(n.tokens, n.start, 0, n.parent.chain() if n.parent else (), -1, 0) for n in nodes
    ]
    with profile.clock("prefix", sum(len(piece.tokens) for piece in pieces)):
        _, layout = forward(model, pieces, None, harvest=True)
    for i, node in enumerate(nodes):
        node.keys = [layer[i][0] for layer in layout.harvested]
        node.values = [layer[i][1] for layer in layout.harvested]
