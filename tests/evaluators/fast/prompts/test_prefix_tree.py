"""The tree of prompts: every sequence is there, and what is shared is there once."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from exme.evaluators.fast.prompts.cache import KVCache
from exme.evaluators.fast.prompts.prefix_tree import Node, build_tree

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple), max_size=12)


@given(sequences=SEQUENCES, least=st.integers(1, 20))
def test_nodes_and_own_tokens_spell_every_sequence(
    sequences: list[tuple[int, ...]], least: int
) -> None:
    leaves = build_tree(sequences, least)
    assert sorted(leaf.index for leaf in leaves) == list(range(len(sequences)))
    for leaf in leaves:
        shared = [token for node in leaf.chain for token in node.tokens]
        assert (*shared, *leaf.own) == sequences[leaf.index]
        assert leaf.own
        assert leaf.start == len(shared)


@given(sequences=SEQUENCES, least=st.integers(1, 20))
def test_leaves_below_a_node_follow_each_other_and_are_counted(
    sequences: list[tuple[int, ...]], least: int
) -> None:
    leaves = build_tree(sequences, least)
    below: dict[int, list[int]] = {}
    nodes: dict[int, Node] = {}
    for order, leaf in enumerate(leaves):
        for node in leaf.chain:
            below.setdefault(id(node), []).append(order)
            nodes[id(node)] = node
    for name, orders in below.items():
        assert orders == list(range(orders[0], orders[-1] + 1))
        assert nodes[name].users == len(orders)
        assert len(nodes[name].tokens) * (len(orders) - 1) >= least


def test_a_prefix_of_all_and_one_of_some_are_both_found() -> None:
    head, middle = tuple(range(100)), tuple(range(200, 260))
    sequences = [(*head, 1), (*head, *middle, 2), (*head, *middle, 3), (*head, *middle, 3, 4)]
    leaves = {leaf.index: leaf for leaf in build_tree(sequences, 50)}
    assert [node.tokens for node in leaves[0].chain] == [head]
    assert [node.tokens for node in leaves[1].chain] == [head, middle]
    assert leaves[3].own == (3, 4)


def test_a_sequence_that_is_the_beginning_of_others_keeps_its_last_token() -> None:
    head = tuple(range(100))
    leaves = {leaf.index: leaf for leaf in build_tree([head, (*head, 5), (*head, 6)], 50)}
    assert leaves[0].own == (99,)
    assert leaves[1].own == (99, 5)


@given(data=st.data(), sequences=SEQUENCES, least=st.integers(1, 20))
def test_tokens_that_must_be_a_sequences_own_are_never_shared(
    data: st.DataObject, sequences: list[tuple[int, ...]], least: int
) -> None:
    own = [data.draw(st.integers(1, len(sequence))) for sequence in sequences]
    leaves = build_tree(sequences, least, own)
    assert sorted(leaf.index for leaf in leaves) == list(range(len(sequences)))
    for leaf in leaves:
        shared = [token for node in leaf.chain for token in node.tokens]
        assert (*shared, *leaf.own) == sequences[leaf.index]
        assert len(leaf.own) >= own[leaf.index]


def test_a_thousand_prompts_that_grow_by_a_token_do_not_exhaust_the_stack() -> None:
    leaves = build_tree([tuple(range(i + 1)) for i in range(1500)], 10**9)
    assert len(leaves) == 1500


def test_keys_and_values_go_with_the_last_request_that_needs_them() -> None:
    head = tuple(range(100))
    first, second = build_tree([(*head, 1), (*head, 2)], 50)
    node, cache = first.chain[0], KVCache(120)
    node.place, node.cached = cache.take(100), 100
    first.chain[-1].release(cache)
    assert (node.cached, cache.free) == (100, 20)
    second.chain[-1].release(cache)
    assert node.place is None
    with pytest.raises(LookupError, match="100 shared tokens"):
        _ = node.first
    assert (node.cached, cache.free) == (0, 120)
