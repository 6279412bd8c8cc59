"""Pictures of a search: its scores over the coefficients.

Drawn on a `Figure` of its own: pyplot's state and the global rcParams stay as they are.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter

from exme.search.proof import Outcome

from .colours import ends_of
from .labels import places_of
from .scene import FLAT, Array, Scene, scene_of_outcome, short

_DPI = 150
_INK, _STAR, _BLUE = "#222222", "#D55E00", "#31688E"
_HALO = [withStroke(linewidth=2.5, foreground="white", alpha=0.85)]
_RING = [withStroke(linewidth=2.4, foreground=_INK)]
_SHAPES: tuple[dict[str, Any], ...] = ({"marker": "*", "s": 360}, {"marker": "D", "s": 75})
_LEADER = {"arrowstyle": "-", "color": _INK, "linewidth": 0.8, "shrinkB": 8}
_PILL: dict[str, Any] = {"boxstyle": "round,pad=0.25", "fc": "white", "ec": "none", "alpha": 0.85}


def plot_plane(outcome: Outcome, path: Path) -> str:
    """Write the picture of the search scores over the coefficients: a PNG, 1200 pixels wide.

    Candidates that were scored in part are small white dots.

    Two checkpoints: the plane of their coefficients. One: the curve over its coefficient. More:
    the slice through the winner along its two largest coefficients, with the trials projected on
    to it. Between the trials it is interpolated once there are 6 distinct points.

    Args:
        outcome: with at least one complete trial.
        path: where the PNG goes; an existing file is overwritten.
    Returns:
        What the picture shows, in a few short sentences (also written below it).
    Raises:
        ValueError: there is no complete trial to show.
    """
    scene = scene_of_outcome(outcome)
    size = (8, _height(scene))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    ax.set_title(f"{outcome.study}: {outcome.task} on the search documents", color=_INK, pad=10)
    ax.spines[:].set_color("#bbbbbb")
    dots = _draw_curve(ax, scene) if len(scene.names) == 1 else _draw_plane(ax, scene)
    caption = _caption(scene)
    figure.supxlabel(textwrap.fill(caption, 135), fontsize=7.5, color="#555555")
    canvas.draw()  # settles the layout, into which the names are then fitted
    _name_marks(ax, scene, dots)
    figure.savefig(path, format="png", metadata={"Software": None})
    return caption


def _height(scene: Scene) -> float:
    """Inches: as much as a plane with equal axes takes, beside title and caption."""
    if len(scene.names) == 1:
        return 6.9
    (x0, x1), (y0, y1) = scene.limits.values()
    ratio = (y1 - y0) / (x1 - x0)
    return min(6.9, 1.35 + 6.4 * ratio) if 0.5 < ratio < 2 else 6.9


def _caption(scene: Scene) -> str:
    text = "Star: best. Diamonds: inputs. Large dots: scored on all search documents."
    text += " Small white dots: scored on some of them." if not scene.whole.all() else ""
    text += " Crosses: failed." if len(scene.failed) else ""
    if len(scene.names) > len(scene.axes):
        text += " Slice through the best; trials are projected on to it, smaller the farther off."
    if scene.is_flat:
        text += f" No surface: {FLAT}."
    if scene.has_surface:
        curve = " Curve: interpolation (Gaussian process)."
        surface = " Surface: interpolation (Gaussian process), white far from trials."
        text += curve if len(scene.names) == 1 else surface
    lost = sum(any(not a <= p[i] <= b for i, (a, b) in scene.limits.items()) for p in scene.points)
    return text + (f" Beyond the edges: {lost}." if lost else "")


def _draw_plane(ax: Axes, scene: Scene) -> Array:
    """Draw all but the names; returns the places to keep free, in data coordinates (p, 2)."""
    i, j = scene.axes
    (x0, x1), (y0, y1) = scene.limits.values()
    labels = [f"coefficient of {short(scene.names[axis], 50)}" for axis in (i, j)]
    ax.set(xlim=(x0, x1), ylim=(y0, y1), xlabel=labels[0], ylabel=labels[1])
    ax.set_aspect("equal" if 0.5 < (x1 - x0) / (y1 - y0) < 2 else "auto")
    floor, top = ends_of(scene.scores)
    colours = ScalarMappable(Normalize(floor, top), "viridis")  # good for the colour-blind
    _draw_surface(ax, scene, colours)
    if scene.is_flat:
        ax.text(0.5, 0.97, FLAT, transform=ax.transAxes, ha="center", va="top", color=_INK)
    else:
        _draw_bar(ax, scene, colours, extend="min" if scene.scores.min() < floor else "neither")
    others = [c for c in range(len(scene.names)) if c not in (i, j)]
    away = np.linalg.norm((scene.points - scene.best)[:, others], axis=1)
    shown, failed = scene.points[:, [i, j]], scene.failed[:, [i, j]]
    rim: dict[str, Any] = {"edgecolors": "white", "path_effects": _RING}
    shades = colours.to_rgba(scene.scores)
    size = 60 / (1 + 4 * away)
    for part, whole in ((scene.whole, True), (~scene.whole, False)):
        x, y = shown[part].T
        ax.scatter(
            x, y, s=size[part] * (1.2 if whole else 0.4), zorder=4 if whole else 3.5,
            facecolors=[*map(tuple, shades[part])] if whole else "white",
            edgecolors="white" if whole else _INK, linewidths=1 if whole else 0.9,
            path_effects=_RING if whole else None,
        )  # fmt: skip
    ax.scatter(failed[:, 0], failed[:, 1], s=30, c=_INK, marker="x", zorder=3, path_effects=_HALO)
    for n, point in enumerate(scene.marks.values()):
        score = scene.score_at(point)
        face = _STAR if n == 0 else "white" if score is None else colours.to_rgba(np.array(score))
        ax.scatter(
            point[i], point[j], color=face, linewidths=1.4, zorder=5, **_SHAPES[n > 0], **rim
        )
    dots = np.concatenate([shown, failed, [p[[i, j]] for p in scene.marks.values()]])
    _draw_lines(ax, scene, dots)
    return dots


def _draw_bar(ax: Axes, scene: Scene, colours: ScalarMappable, extend: str) -> None:
    cax = ax.inset_axes((1.02, 0, 0.04, 1))
    bar = ax.figure.colorbar(colours, cax=cax, extend=extend)
    bar.outline.set_visible(False)
    bar.set_label(f"expected score {scene.unit and '(%)'}".strip())
    if scene.scale.is_turned:
        bar.formatter = FuncFormatter(lambda score, _: scene.tick(score))


def _draw_surface(ax: Axes, scene: Scene, colours: ScalarMappable) -> None:
    if not scene.has_surface:
        return
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    x, y = np.meshgrid(np.linspace(x0, x1, 150), np.linspace(y0, y1, 150))
    at = np.tile(scene.best, (x.size, 1))
    at[:, scene.axes] = np.stack([x.ravel(), y.ravel()], axis=1)
    mean, spread = (part.reshape(x.shape) for part in scene.smooth(at))
    # Bytes: matplotlib resamples floats to the picture's size in floats, which takes 50 MB.
    image = np.asarray(colours.to_rgba(mean, bytes=True))
    image[..., 3] = np.round(255 * np.clip((0.8 - spread) / 0.4, 0, 1))
    ax.imshow(
        image,
        extent=(x0, x1, y0, y1),
        origin="lower",
        aspect=ax.get_aspect(),
        interpolation="bilinear",
    )
    if np.ptp(scene.scores) > 0:
        seen = np.where(spread < 0.6, mean, np.nan)
        ax.contour(x, y, seen, 9, colors="white", linewidths=0.6, linestyles="-", alpha=0.45)


def _draw_lines(ax: Axes, scene: Scene, dots: Array) -> None:
    """Draw alpha = 0 and equal shares of the two checkpoints, named where there is room."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    total = 1 - float(scene.best.sum() - scene.best[scene.axes].sum())
    shares = "beta = 0.5" if len(scene.names) == 2 else "equal shares"
    for name, style, slope, shift in (("alpha = 0", "--", -1, total), (shares, ":", 1, 0.0)):
        ends = sorted([slope * (y0 - shift), slope * (y1 - shift)])
        left, right = max(x0, ends[0]), min(x1, ends[1])
        if left >= right:
            continue
        x = np.linspace(left, right, 41)
        line = np.stack([x, shift + slope * x], axis=1)
        ax.plot(*line.T, style, color=_INK, linewidth=1.1, zorder=2, path_effects=_HALO)
        inner = line[4:-4]
        free = np.linalg.norm(inner[:, None] - dots[None], axis=2).min(axis=1)
        x, y = inner[free.argmax()]
        text = ax.text(x, y, name, fontsize=8.5, ha="center", va="bottom")
        text.set(color=_INK, path_effects=_HALO, zorder=3, rotation_mode="anchor")
        text.set(rotation=45 * slope, transform_rotates_text=True)


def _draw_curve(ax: Axes, scene: Scene) -> Array:
    """As `_draw_plane`, for one checkpoint."""
    x, y = scene.points[:, 0], scene.scores
    name = short(scene.names[0], 50)
    ax.set(xlim=scene.limits[0], xlabel=f"coefficient of {name} (1 + alpha)")
    ax.set_ylabel(f"score{' (%)' if scene.unit else ''}, 95% intervals")
    if scene.scale.is_turned:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda score, _: scene.tick(score)))
    if scene.has_surface:
        at = np.linspace(*ax.get_xlim(), 300)
        ax.plot(at, scene.smooth(at[:, None])[0], color=_BLUE, linewidth=1.6)
    for part, face in ((scene.whole, _BLUE), (~scene.whole, "white")):
        reach = np.abs(scene.bands.T - y)[:, part]
        ax.errorbar(
            x[part], y[part], reach, fmt="o", color=_BLUE, mfc=face, ecolor="#a9c3d1", zorder=3
        )
    ax.axvline(1.0, color=_INK, linewidth=1, linestyle="--", zorder=1)
    across = ax.get_xaxis_transform()
    ax.text(1.0, 0.02, " alpha = 0", transform=across, fontsize=8.5, color=_INK)
    failed = scene.failed[:, 0]
    ax.plot(failed, np.full(len(failed), 0.03), "x", color=_INK, transform=across)
    for n, point in enumerate(scene.marks.values()):
        score = scene.score_at(point)
        if score is not None:
            face = "white" if n else _STAR
            ax.scatter(point[0], score, color=face, edgecolors=_INK, zorder=5, **_SHAPES[n > 0])
    heights = np.linspace(scene.bands[:, 0], scene.bands[:, 1], 12)
    return np.stack([np.broadcast_to(x, heights.shape).ravel(), heights.ravel()], axis=1)


def _name_marks(ax: Axes, scene: Scene, dots: Array) -> None:
    """Write each mark's name beside it (`places_of`)."""
    taken = [text.get_window_extent().extents for text in ax.texts]
    texts, marks, sizes = [], [], []
    for name, point in scene.marks.items():
        score = scene.score_at(point)
        if score is None and len(scene.names) == 1:
            continue
        x, y = point[scene.axes] if len(scene.names) > 1 else (point[0], score)
        figure = scene.text_at(point)
        text = ax.annotate(
            f"{name}: {figure}" if figure else name,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            arrowprops=_LEADER,
        )
        text.set(fontsize=9, color=_INK, ha="center", va="center", zorder=7, bbox=_PILL)
        box = text.get_window_extent().padded(6)
        texts.append(text)
        across, up = ax.transData.transform([(float(x), float(y or 0.0))])[0]
        marks.append((float(across), float(up)))
        sizes.append((box.width, box.height))
    pixels = ax.transData.transform(dots)
    frame = (ax.bbox.x0, ax.bbox.y0, ax.bbox.x1, ax.bbox.y1)
    found = places_of(marks, sizes, pixels, frame, (14, 28, 50, 75, 105), taken)
    for text, (x, y), place in zip(texts, marks, found, strict=True):
        text.set_position(((place.x - x) * 72 / _DPI, (place.y - y) * 72 / _DPI))
        if text.arrow_patch and not place.is_far:
            text.arrow_patch.set_visible(False)
