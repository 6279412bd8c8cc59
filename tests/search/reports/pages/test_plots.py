from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from exme.evaluators.scores import DocumentScores
from exme.search.merging.candidate import Candidate
from exme.search.proof.outcome import Entry, Outcome
from exme.search.reports.pages import plots
from exme.search.reports.pages.plane_chart import plane, plane_svg
from exme.search.reports.pages.plots import plot_plane
from exme.search.reports.pages.scene import Array, Scene, scene_of_outcome
from exme.search.reports.terminal.plane_map import plane_map
from exme.search.trials.trial import TrialRecord

NAMES = ("sums", "minus", "times")
PLANE = [(1, 0), (0, 1), (0.5, 0.5), (1.3, 0), (0.8, 0.7), (0.9, 0.4), (0.3, 1.2), (1.4, 1.1)]


def candidate(place: Sequence[float]) -> Candidate:
    values = dict(zip(NAMES, map(float, place), strict=False))
    return Candidate(values, "exme", "bfloat16", {"base": "aa"})


def scores(place: Sequence[float], n: int = 100, binary: bool = True) -> DocumentScores:
    """A hill over the coefficients, highest at 0.8 of each checkpoint."""
    height = 0.1 + 0.5 * np.exp(-sum((c - 0.8) ** 2 for c in place))
    values = [float(i < height * n) if binary else float(height) for i in range(n)]
    documents = tuple(f"d{i}" for i in range(n))
    return DocumentScores("gsm8k", "search", "m", documents, tuple(values), 0)


def outcome(
    places: Sequence[Sequence[float]],
    binary: bool = True,
    failed: Sequence[Sequence[float]] = (),
    **other: Any,
) -> Outcome:
    trials = [
        TrialRecord(i, "complete", "gp", candidate(p), scores(p, binary=binary))
        for i, p in enumerate(places)
    ]
    winner = max(trials, key=lambda t: t.scores.mean if t.scores else 0.0)
    for place in failed:
        trials.append(TrialRecord(len(trials), "failed", "gp", candidate(place), message="nan"))
    fields: dict[str, Any] = {"bounds": {}, "trials": tuple(trials), "winner": winner} | other
    return Outcome(study="mini", task="gsm8k", **fields)


def size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_the_picture_is_a_png_1200_pixels_wide(tmp_path: Path) -> None:
    caption = plot_plane(outcome(PLANE, failed=[(1.9, 1.9)]), tmp_path / "plane.png")
    assert size(tmp_path / "plane.png") == (1200, 1035)
    assert caption == (
        "Star: best. Diamonds: inputs. Large dots: scored on all search documents. Crosses: failed. "
        "Surface: interpolation (Gaussian process), white far from trials."
    )


def test_nothing_is_interpolated_between_five_points(tmp_path: Path) -> None:
    caption = plot_plane(outcome(PLANE[:5]), tmp_path / "plane.png")
    assert "interpolation" not in caption


def test_repeated_points_do_not_count_as_distinct(tmp_path: Path) -> None:
    caption = plot_plane(outcome(PLANE[:5] * 3), tmp_path / "plane.png")
    assert "interpolation" not in caption


def test_one_checkpoint_gives_a_curve(tmp_path: Path) -> None:
    places = [(c,) for c in (1.0, 1.3, 1.5, 0.8, 0.6, 0.9, 2.0)]
    caption = plot_plane(outcome(places, failed=[(2.5,)]), tmp_path / "plane.png")
    assert "Curve: interpolation" in caption
    assert size(tmp_path / "plane.png")[0] == 1200


def test_three_checkpoints_give_a_slice_through_the_best(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    places = [tuple(row) for row in generator.uniform(-0.2, 1.6, (12, 3))]
    caption = plot_plane(outcome(places), tmp_path / "plane.png")
    assert "Slice through the best" in caption


def test_the_axes_are_the_two_largest_coefficients_of_the_best_in_order() -> None:
    scene = scene_of_outcome(outcome([(0.1, 0.9, 0.8), (1, 0, 0), (0, 1, 0), (0, 0, 1)]))
    assert [scene.names[axis] for axis in scene.axes] == ["minus", "times"]


def test_points_far_from_inputs_and_best_are_left_out_and_counted(tmp_path: Path) -> None:
    caption = plot_plane(outcome([*PLANE, (25, 1)]), tmp_path / "plane.png")
    assert caption.endswith("Beyond the edges: 1.")


def test_the_base_is_drawn_with_its_score_where_it_has_one() -> None:
    base = Entry("base", candidate((0, 0)), scores((0, 0)), scores((0, 0)))
    scene = scene_of_outcome(outcome(PLANE, inputs=(base,)))
    assert scene.score_at(scene.marks["base"]) == pytest.approx(100 * scores((0, 0)).mean)
    assert scene_of_outcome(outcome(PLANE)).score_at(np.zeros(2)) is None


def test_an_input_that_is_the_best_is_named_once() -> None:
    scene = scene_of_outcome(outcome([(1, 0), (0, 1), (-0.5, -0.5)]))
    assert list(scene.marks) == ["sums = best (trial 0)", "base", "minus"]


def test_accuracies_are_in_percent_and_other_scores_as_they_are() -> None:
    assert scene_of_outcome(outcome(PLANE)).unit == "%"
    plain = scene_of_outcome(outcome(PLANE, binary=False))
    assert plain.unit == ""
    assert plain.scores.max() < 1


@pytest.mark.parametrize("places", [[(1, 0)], [(c, 1 - c) for c in np.linspace(0, 1, 8)], [(2, 2)]])
def test_a_point_and_a_line_of_points_can_be_drawn(
    tmp_path: Path, places: list[tuple[float, ...]]
) -> None:
    plot_plane(outcome(places), tmp_path / "plane.png")
    assert size(tmp_path / "plane.png")[0] == 1200


def test_equal_scores_can_be_drawn(tmp_path: Path) -> None:
    flat = outcome(PLANE)
    same = scores((0.8, 0.8))
    trials = tuple(TrialRecord(t.number, "complete", "gp", t.candidate, same) for t in flat.trials)
    level = Outcome("mini", "gsm8k", {}, trials, trials[0])
    plot_plane(level, tmp_path / "plane.png")


def test_no_complete_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no complete trial"):
        plot_plane(Outcome("mini", "gsm8k", {}, (), None), tmp_path / "plane.png")
    assert not list(tmp_path.iterdir())


def test_the_surface_follows_the_hill_and_knows_where_it_has_not_looked() -> None:
    generator = np.random.default_rng(4)
    places = [tuple(row) for row in generator.uniform(0, 1.6, (40, 2))]
    scene = scene_of_outcome(outcome(places))
    at = np.array([(0.8, 0.8), (0.2, 0.2), (9.0, 9.0)])
    mean, spread = scene.smooth(at)
    truth = [100 * scores(place).mean for place in at[:2]]
    assert mean[:2] == pytest.approx(truth, abs=3)
    assert spread[0] < 0.3
    assert spread[2] == pytest.approx(1)


def test_names_overlap_neither_each_other_nor_the_edge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boxes: list[tuple[Bbox, Bbox]] = []
    place = plots._name_marks

    def spy(ax: Axes, scene: Scene, dots: Array) -> None:
        place(ax, scene, dots)
        ax.figure.canvas.draw()
        boxes.extend((text.get_window_extent(), ax.bbox) for text in ax.texts)

    monkeypatch.setattr(plots, "_name_marks", spy)
    plot_plane(outcome([*PLANE, (0.85, 0.75), (0.75, 0.8), (0.7, 0.85)]), tmp_path / "plane.png")
    assert len(boxes) == 6  # best, base, two checkpoints and two lines
    for i, (box, axes) in enumerate(boxes):
        assert axes.fully_contains(*box.min)
        assert axes.fully_contains(*box.max)
        assert not any(box.overlaps(other) for other, _ in boxes[:i])


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    plot_plane(outcome(PLANE), tmp_path / "plane.png")
    assert dict(mpl.rcParams) == before


def test_the_same_outcome_gives_the_same_picture(tmp_path: Path) -> None:
    plot_plane(outcome(PLANE), tmp_path / "a.png")
    plot_plane(outcome(PLANE), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def flat(count: int = 8) -> Outcome:
    """Every trial has solved as many documents as the others."""
    same = scores((0.5, 0.5))
    trials = [
        TrialRecord(i, "complete", "gp", candidate(p), same) for i, p in enumerate(PLANE[:count])
    ]
    return Outcome("mini", "gsm8k", bounds={}, trials=tuple(trials), winner=trials[0])


def test_where_all_scores_are_the_same_the_map_is_empty_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Axes] = []
    names = plots._name_marks

    def kept(ax: Axes, scene: Scene, dots: Array) -> None:
        drawn.append(ax)
        names(ax, scene, dots)

    monkeypatch.setattr(plots, "_name_marks", kept)
    caption = plot_plane(flat(), tmp_path / "plane.png")
    assert "all scores are the same" in caption and "interpolation" not in caption
    (ax,) = drawn
    assert "all scores are the same" in [text.get_text() for text in ax.texts]
    assert not ax.images and not ax.child_axes  # no surface, no scale of colours
    plot_plane(outcome(PLANE), tmp_path / "hill.png")
    assert drawn[1].images and drawn[1].child_axes


def test_the_page_and_the_terminal_draw_no_surface_over_equal_scores() -> None:
    found = plane(flat())
    assert found is not None and found.is_flat
    assert found.image == "" and found.scale == ()
    assert "all scores are the same" in plane_svg(found, alone=True)
    lines = [line.plain for line in plane_map(scene_of_outcome(flat()), 40, 8)]
    assert sum("all scores are the same" in line for line in lines) == 1
    assert not any("\u2580" in line or "\u2584" in line for line in lines)
    other = plane(outcome(PLANE))
    assert other is not None and other.image and len(other.scale) == 10
