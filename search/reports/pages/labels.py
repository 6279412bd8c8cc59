"""Where the names of marks stand in a picture: within it, off other names, and off as many dots as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .scene import Array

# Left, lowest, right and highest of a rectangle, whichever way the picture counts upwards.
Box = tuple[float, float, float, float]

_WAYS = np.radians(np.arange(90, 450, 22.5))


@dataclass(frozen=True)
class Place:
    """Where a name stands.

    Attributes:
        x: its middle; `y` likewise.
        is_far: so far from its mark that a line should lead there.
    """

    x: float
    y: float
    is_far: bool


def places_of(
    marks: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    dots: Array,
    frame: Box,
    gaps: Sequence[float],
    taken: Sequence[Box] = (),
) -> list[Place]:
    """A place for the name of each mark, in turn: the cheapest of some around it.

    Leaving the frame costs most, then lying on another name, then each dot that is covered, then the way to the mark.

    Args:
        marks: where they are.
        sizes: width and height of their names.
        dots: all that should stay in sight, the marks among them, shape (n, 2).
        frame: of the picture.
        gaps: distances from a mark that are tried; from the third on a name is far.
        taken: where other words stand.
    """
    boxes, found = list(taken), []
    margin = gaps[0] / 2
    for (x, y), (width, height) in zip(marks, sizes, strict=True):
        tried: list[tuple[float, int, bool, Box]] = []
        for step, gap in enumerate(gaps):
            for way in _WAYS:
                middle = (
                    x + (width / 2 + gap) * np.cos(way),
                    y + (height / 2 + gap) * np.sin(way),
                )
                box = _around(*middle, width, height)
                cost = 3000 * _beyond(box, frame) + 1000 * sum(_overlap(box, b) for b in boxes)
                cost += 40 * _covered(dots, box, margin)
                tried.append((cost + gap, len(tried), step > 1, box))
        _, _, is_far, box = min(tried)
        boxes.append(box)
        found.append(Place((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, is_far))
    return found


def _around(x: float, y: float, width: float, height: float) -> Box:
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _beyond(box: Box, frame: Box) -> int:
    """How many sides of a box are beyond the frame."""
    return sum((box[0] < frame[0], box[1] < frame[1], box[2] > frame[2], box[3] > frame[3]))


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _covered(dots: Array, box: Box, margin: float) -> int:
    """How many dots a box covers, with some room around them."""
    low, high = np.array(box[:2]) - margin, np.array(box[2:]) + margin
    return int(((dots > low) & (dots < high)).all(axis=1).sum())
