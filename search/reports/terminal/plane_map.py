"""A small map of the coefficients for a terminal: two pixels a character, the trials on it."""

from __future__ import annotations

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

from exme.search.reports.pages import FLAT, Array, Scene, ends_of, shares_of, viridis

BEST, INPUT, TRIAL, PART, FAILED = "★", "◆", "•", "∘", "×"

# Where there are no colours, the score is told by how dense a character looks.
_DENSITY = " .:-=+*#%"
_STAR = Color.from_rgb(255, 80, 40)
_FADED = 0.8  # a surface whose spread is this share of the prior's says nothing


def plane_map(scene: Scene, width: int, height: int, *, colours: bool = True) -> list[Text]:
    """Lines of a map over the coefficients of the best's two largest checkpoints.

    Args:
        scene: of two checkpoints or more.
        width: characters across.
        height: lines.
        colours: whether the terminal has colours.
    Returns:
        `height` lines of `width` characters; the first is the top.
    """
    (x0, x1), (y0, y1) = scene.limits.values()
    x = x0 + (np.arange(width) + 0.5) / width * (x1 - x0)
    y = y1 - (np.arange(2 * height) + 0.5) / (2 * height) * (y1 - y0)
    shares, seen = _surface(scene, x, y)
    marks = _marks(scene, width, height)
    if scene.is_flat:
        start = max(0, (width - len(FLAT)) // 2)
        places = [[(row, start + i) for i in range(len(FLAT))] for row in range(height)]
        free = min(places, key=lambda row: sum(place in marks for place in row))
        marks |= {place: (letter, None) for place, letter in zip(free, FLAT, strict=True)}
    lines = []
    for row in range(height):
        line = Text(no_wrap=True)
        for column in range(width):
            top, bottom = (_colour(shares, seen, 2 * row + i, column) for i in (0, 1))
            mark = marks.get((row, column))
            if not colours:
                share = shares[2 * row, column] if seen[2 * row, column] else 0.0
                shade = _DENSITY[int(share * (len(_DENSITY) - 1))]
                line.append(mark[0] if mark else shade)
            elif mark:
                symbol, ink = mark
                line.append(symbol, Style(color=ink or _ink(top), bgcolor=top, bold=True))
            elif top is None and bottom is None:
                line.append(" ")
            else:
                line.append(
                    "▀" if top else "▄", Style(color=top or bottom, bgcolor=bottom if top else None)
                )
        lines.append(line)
    return lines


def colour_scale(scene: Scene, width: int, *, colours: bool = True) -> Text:
    """The scores at which the map's colours begin and end, beside so many characters of them."""
    low, high = map(scene.text, ends_of(scene.scores))
    line = Text(no_wrap=True).append(f"{low} ", "dim")  # (colours are those of the map, not dim)
    for share in np.linspace(0, 1, width):
        if colours:
            line.append("█", Style(color=Color.from_rgb(*map(int, viridis(share)))))
        else:
            line.append(_DENSITY[int(share * (len(_DENSITY) - 1))])
    return line.append(f" {high}", "dim")


def _surface(scene: Scene, x: Array, y: Array) -> tuple[Array, Array]:
    """Shares of the colours at each pixel, and whether anything is known there."""
    if not scene.has_surface:
        return np.zeros((len(y), len(x))), np.zeros((len(y), len(x)))
    at = np.tile(scene.best, (len(x) * len(y), 1))
    grid_x, grid_y = np.meshgrid(x, y)
    at[:, scene.axes] = np.stack([grid_x.ravel(), grid_y.ravel()], axis=1)
    mean, spread = (part.reshape(grid_x.shape) for part in scene.smooth(at))
    return shares_of(mean, scene.scores), (spread < _FADED).astype(float)


def _colour(shares: Array, seen: Array, row: int, column: int) -> Color | None:
    if not seen[row, column]:
        return None
    red, green, blue = viridis(shares[row, column])
    return Color.from_rgb(int(red), int(green), int(blue))


def _ink(ground: Color | None) -> Color | None:
    """Black or white, whichever is read on a ground; None is the terminal's own."""
    if ground is None or ground.triplet is None:
        return None
    red, green, blue = ground.triplet
    return Color.from_rgb(*[0 if 0.3 * red + 0.6 * green + 0.1 * blue > 120 else 255] * 3)


def _marks(
    scene: Scene, width: int, height: int
) -> dict[tuple[int, int], tuple[str, Color | None]]:
    """What stands in which cell and its colour; what matters more is put there last."""
    (x0, x1), (y0, y1) = scene.limits.values()
    found: dict[tuple[int, int], tuple[str, Color | None]] = {}

    def put(points: Array, symbol: str, ink: Color | None = None) -> None:
        for point in points:
            a, b = point[scene.axes]
            column = int((a - x0) / (x1 - x0) * width)
            row = int((y1 - b) / (y1 - y0) * height)
            if 0 <= column < width and 0 <= row < height:
                found[row, column] = (symbol, ink)

    put(scene.failed, FAILED)
    put(scene.points[~scene.whole], PART)
    put(scene.points[scene.whole], TRIAL)
    inputs = list(scene.marks.values())
    put(np.array(inputs[1:]), INPUT)
    put(np.array(inputs[:1]), BEST, _STAR)
    return found
