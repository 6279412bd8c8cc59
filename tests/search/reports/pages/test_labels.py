"""Names beside marks: within the picture, off each other, and off dots where there is room."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from exme.search.reports.pages.labels import places_of

FRAME = (0.0, 0.0, 300.0, 200.0)
GAPS = (10.0, 20.0, 40.0)
SIZE = (60.0, 12.0)


def box(x: float, y: float) -> tuple[float, float, float, float]:
    return (x - SIZE[0] / 2, y - SIZE[1] / 2, x + SIZE[0] / 2, y + SIZE[1] / 2)


def test_a_name_with_room_all_around_stands_beside_its_mark() -> None:
    (place,) = places_of([(150, 100)], [SIZE], np.array([(150.0, 100.0)]), FRAME, GAPS)
    left, low, right, high = box(place.x, place.y)
    assert not (left < 150 < right and low < 100 < high)
    assert np.hypot(place.x - 150, place.y - 100) <= SIZE[0] / 2 + GAPS[0] + 1
    assert not place.is_far


def test_a_name_goes_where_there_are_no_dots() -> None:
    """All but a corner of the picture is full of dots."""
    x, y = np.meshgrid(np.arange(5.0, 300, 10), np.arange(5.0, 200, 10))
    dots = np.stack([x.ravel(), y.ravel()], axis=1)
    free = (dots[:, 0] > 170) & (dots[:, 0] < 290) & (dots[:, 1] > 110) & (dots[:, 1] < 190)
    dots = np.concatenate([dots[~free], [(180.0, 150.0)]])
    (place,) = places_of([(180, 150)], [SIZE], dots, FRAME, GAPS)
    left, low, right, high = box(place.x, place.y)
    inside = (dots[:, 0] > left) & (dots[:, 0] < right) & (dots[:, 1] > low) & (dots[:, 1] < high)
    assert not inside.any()


def test_a_name_that_had_to_go_far_is_led_to_its_mark() -> None:
    near = [(150 + dx, 100 + dy) for dx in range(-60, 61, 4) for dy in range(-24, 25, 4)]
    (place,) = places_of([(150, 100)], [SIZE], np.array(near, dtype=float), FRAME, GAPS)
    assert place.is_far


@given(
    st.lists(st.tuples(st.floats(20, 280), st.floats(20, 180)), min_size=1, max_size=4, unique=True)
)
def test_names_are_within_the_picture_and_apart(marks: list[tuple[float, float]]) -> None:
    found = places_of(marks, [SIZE] * len(marks), np.array(marks), FRAME, GAPS)
    boxes = [box(place.x, place.y) for place in found]
    for i, (left, low, right, high) in enumerate(boxes):
        assert left >= 0 and low >= 0 and right <= 300 and high <= 200
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or high <= other[1] or other[3] <= low
