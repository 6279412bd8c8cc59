"""What rows bring into a pass: shared prefixes, their own tokens, and the cache of both. Knows tokens; no layer of the model."""

from .cache import KVCache, Stretch
from .prefix_tree import Leaf, Node, build_tree
from .rows import Ints, Piece, Rows, tokens_of

__all__ = ["Ints", "KVCache", "Leaf", "Node", "Piece", "Rows", "Stretch", "build_tree", "tokens_of"]
