"""Requests as a tree of token prefixes: what several of them share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .cache import KVCache, Stretch

# A node costs an attention call per layer and pass; it must save more tokens than this.
LEAST_SAVING = 64


@dataclass(eq=False)
class Node:
    """Tokens that all requests below it share.

    Attributes:
        tokens: the node's own tokens, after its parent's.
        start: position of the first of them.
        parent: the node before it; None at the beginning of the sequence.
        users: requests below it that are not answered yet; its place in the cache goes with the last.
        place: in the cache; None before it has one.
        cached: tokens that the cache holds.
    """

    tokens: tuple[int, ...]
    start: int
    parent: Node | None
    users: int = 0
    place: Stretch | None = None
    cached: int = 0

    @property
    def stop(self) -> int:
        """Position after its last token."""
        return self.start + len(self.tokens)

    def chain(self) -> tuple[Node, ...]:
        """The node and all before it, from the beginning of the sequence."""
        return (*(self.parent.chain() if self.parent else ()), self)

    @property
    def first(self) -> int:
        """Place of its first token in the cache.

        Raises:
            LookupError: it has none.
        """
        if self.place is None:
            raise LookupError(f"{len(self.tokens)} shared tokens have no place in the cache")
        return self.place.first

    def forget(self) -> None:
        """Its cache is gone."""
        self.place, self.cached = None, 0

    def release(self, cache: KVCache) -> None:
        """One request below it is answered: give back what none needs any longer."""
        for node in self.chain():
            node.users -= 1
            if node.users == 0 and node.place is not None:
                cache.give(node.place)
                node.forget()


@dataclass(frozen=True)
class Leaf:
    """One sequence: the nodes that it shares with others, and the rest.

    Attributes:
        index: the sequence's place in what the tree was built from.
        node: the last shared node; None where it shares nothing.
        own: the tokens after it, at least one.
    """

    index: int
    node: Node | None
    own: tuple[int, ...]

    @property
    def start(self) -> int:
        """Position of the first own token."""
        return self.node.stop if self.node else 0

    @property
    def chain(self) -> tuple[Node, ...]:
        """The shared nodes, from the beginning of the sequence."""
        return self.node.chain() if self.node else ()


def build_tree(
    sequences: Sequence[tuple[int, ...]],
    least_saving: int = LEAST_SAVING,
    own: Sequence[int] | None = None,
) -> list[Leaf]:
    """Find the shared prefixes.

    Args:
        sequences: token ids, each at least one.
        least_saving: tokens that a node must save over computing it for each of its users.
        own: how many of each sequence's last tokens are not shared, at least one: their logits are
            what is asked for. None is one of each.

    Returns:
        A leaf per sequence, in the order of a walk through the tree: the leaves below any node
        follow each other.
    """
    order = sorted(range(len(sequences)), key=sequences.__getitem__)
    ends = [len(s) - (own[i] if own else 1) for i, s in enumerate(sequences)]
    leaves: list[Leaf] = []
    todo: list[tuple[list[int], Node | None]] = [(order, None)] if order else []
    while todo:
        group, parent = todo.pop()
        start = parent.stop if parent else 0
        nearest = min(ends[i] for i in group)
        end = min(_common(sequences[group[0]], sequences[group[-1]], start), nearest)
        if (end - start) * (len(group) - 1) >= least_saving:
            node = Node(sequences[group[0]][start:end], start, parent, users=len(group))
            todo.append((group, node))
        elif len(parts := _by_token(sequences, group, end)) > 1:
            todo += [(part, parent) for part in reversed(parts)]
        else:  # all go on alike, but here some begin to be on their own
            alone = [i for i in group if ends[i] == nearest]
            leaves += [Leaf(i, parent, sequences[i][start:]) for i in alone]
            if longer := [i for i in group if ends[i] > nearest]:
                todo.append((longer, parent))
    return leaves


def _by_token(
    sequences: Sequence[tuple[int, ...]], order: Sequence[int], at: int
) -> list[list[int]]:
    """Sorted sequences in groups that agree in the token at a position."""
    groups: list[list[int]] = []
    last: tuple[int, ...] | None = None
    for index in order:
        token = sequences[index][at : at + 1]
        if token != last:
            groups.append([])
            last = token
        groups[-1].append(index)
    return groups


def _common(first: tuple[int, ...], second: tuple[int, ...], start: int) -> int:
    """Length of the prefix that two sequences share, both known to agree before `start`."""
    low, high = start, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
