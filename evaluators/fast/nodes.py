"""Shared nodes are computed once per candidate, when the first request below them needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from transformers import PreTrainedModel

from exme.evaluators.fast.attention import forward
from exme.evaluators.fast.memory import Budget
from exme.evaluators.fast.profile import Profile
from exme.evaluators.fast.prompts import KVCache, Leaf, Node, Piece


def tokens_of(leaves: Iterable[Leaf]) -> int:
    """Tokens of all nodes that leaves hang on."""
    return sum(len(node.tokens) for node in {node for leaf in leaves for node in leaf.chain})


def missing(leaf: Leaf) -> int:
    """Tokens of the nodes that a leaf hangs on and that have no place."""
    return sum(len(node.tokens) for node in leaf.chain if node.place is None)


def take_places(leaf: Leaf, cache: KVCache) -> None:
    """Give places to the nodes that a leaf hangs on and that have none; there is room for them."""
    for node in leaf.chain:
        if node.place is None:
            node.place = cache.take(len(node.tokens))


def forget(leaves: Iterable[Leaf]) -> None:
    """The cache of the nodes that leaves hang on is gone."""
    for leaf in leaves:
        for node in leaf.chain:
            node.forget()


def prepare(
    model: PreTrainedModel,
    leaves: Sequence[Leaf],
    cache: KVCache,
    budget: Budget,
    profile: Profile,
) -> None:
    """Compute the keys and values of all nodes that leaves hang on.

    Args:
        model: the resident model, inside `shared_prefix_attention`.
        leaves: in the order of the tree; their nodes have places.
        cache: filled.
    """
    todo: dict[int, list[Node]] = {}
    for leaf in leaves:
        for depth, node in enumerate(leaf.chain):
            if node.cached < len(node.tokens) and node not in todo.setdefault(depth, []):
                todo[depth].append(node)
    for _, nodes in sorted(todo.items()):
        while nodes:
            _compute(model, nodes, cache, budget, profile)
            nodes = [node for node in nodes if node.cached < len(node.tokens)]


def _compute(
    model: PreTrainedModel,
    nodes: Sequence[Node],
    cache: KVCache,
    budget: Budget,
    profile: Profile,
) -> None:
    """One pass over nodes whose parents are computed, or over as much of them as it may take."""
    pieces: list[Piece] = []
    computed: list[tuple[Node, int]] = []
    left = budget.pass_tokens
    for node in nodes:
        tokens = node.tokens[node.cached : node.cached + left]
        if not tokens:
            break
        chain = node.parent.chain() if node.parent else ()
        pieces.append(Piece(tokens, node.start, node.cached, chain, node.first, 0))
        computed.append((node, node.cached + len(tokens)))
        left -= len(tokens)
    with profile.clock("prefix", budget.pass_tokens - left):
        forward(model, pieces, cache)
    for node, cached in computed:
        node.cached = cached
    budget.passed(budget.pass_tokens - left)
