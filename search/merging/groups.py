"""Groups of tensors that have coefficients of their own: blocks of layers, kinds, or patterns.

A group is a label and the tensors in it; every tensor is in exactly one. The labels are what people
read (``sums, layers 0-3``) and what candidates and recipes hold.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from exme.tasks import UserError, did_you_mean

REST = "rest"
KINDS = ("attention", "mlp", "embeddings", "norms")

_LAYER = re.compile(r"\.(?:layers|h|blocks|layer)\.(\d+)\.|^(?:layers|h|blocks)\.(\d+)\.")
_EMBEDDING = re.compile(r"embed|wte|wpe|lm_head")
_KINDS = (
    ("norms", re.compile(r"norm|\bln_|layernorm", re.IGNORECASE)),
    ("embeddings", _EMBEDDING),
    ("attention", re.compile(r"attn|attention")),
    ("mlp", re.compile(r"mlp|feed_forward|ffn|experts|\.fc[12]\.")),
)

Spec = Mapping[str, Any]


class Groups:
    """The groups of a model's tensors.

    Args:
        spec: one of ``{"blocks": n}``, ``{"kinds": [...]}`` and ``{"patterns": {label: [...]}}``; what
            no kind or pattern names is in the group ``rest``.
        tensors: names of all tensors that are merged.

    Raises:
        UserError: the groups do not fit this model; names them.
    """

    def __init__(self, spec: Spec, tensors: Iterable[str]) -> None:
        names = sorted(tensors)
        if "blocks" in spec:
            self._label = _by_block(int(spec["blocks"]), names)
        elif "kinds" in spec:
            self._label = _by_kind(spec["kinds"], names)
        else:
            self._label = _by_pattern(spec["patterns"], names)
        used = set(self._label.values())
        self.labels: tuple[str, ...] = tuple(
            label for label in _order(spec, self._label, names) if label in used
        )

    def of(self, tensor: str) -> str:
        """The label of a tensor's group."""
        return self._label[tensor]


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return None if found is None else int(found[1] or found[2])


def _by_block(blocks: int, names: Sequence[str]) -> dict[str, str]:
    """Blocks of consecutive layers, alike in length; input embeddings join the first, the rest the last."""
    layers = sorted({layer for name in names if (layer := _layer(name)) is not None})
    if not 2 <= blocks <= len(layers):
        raise UserError(
            f"groups.blocks: {blocks} blocks of {len(layers)} layers; give 2 to {len(layers)}"
        )
    cuts = [round(i * len(layers) / blocks) for i in range(blocks + 1)]
    parts = [layers[low:high] for low, high in itertools.pairwise(cuts)]
    labels = [
        f"layers {part[0]}-{part[-1]}" if len(part) > 1 else f"layer {part[0]}" for part in parts
    ]
    block = {layer: label for part, label in zip(parts, labels, strict=True) for layer in part}
    found = {}
    for name in names:
        layer = _layer(name)
        if layer is not None:
            found[name] = block[layer]
        else:
            is_input = _EMBEDDING.search(name) and "lm_head" not in name and "embed_out" not in name
            found[name] = labels[0] if is_input else labels[-1]
    return found


def _by_kind(kinds: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(
                f"groups.kinds: no kind '{kind}' (have: {', '.join(KINDS)}){did_you_mean(kind, KINDS)}"
            )
    found = {
        name: next((kind for kind, pattern in _KINDS if pattern.search(name)), REST)
        for name in names
    }
    for kind in kinds:
        if kind not in found.values():
            raise UserError(f"groups.kinds: the base has no tensors of kind '{kind}'")
    return {name: kind if kind in kinds else REST for name, kind in found.items()}


def _by_pattern(patterns: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        fits = (
            label
            for label, globs in patterns.items()
            if any(fnmatchcase(name, glob) for glob in globs)
        )
        found[name] = next(fits, REST)
    for label in patterns:
        if label not in found.values():
            raise UserError(
                f"groups.patterns: no tensor of the base is in '{label}' "
                f"({', '.join(patterns[label])}); its tensors are called like '{names[0]}'"
            )
    return found


def _order(spec: Spec, label: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Labels in the order in which people expect them."""
    if "blocks" in spec:
        return sorted(set(label.values()), key=lambda text: int(re.findall(r"\d+", text)[0]))
    return [*(spec["kinds"] if "kinds" in spec else spec["patterns"]), REST]


def joint(checkpoint: str, group: str) -> str:
    """Name of a group's coefficient: ``sums, layers 0-3``."""
    return f"{checkpoint}, {group}"
