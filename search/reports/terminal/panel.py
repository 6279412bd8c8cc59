"""The picture of a search in a terminal: incumbent, gain, map, budget, last trials."""

from __future__ import annotations

from textwrap import shorten

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from exme.search.reports.pages import Scene, failed_of, scene_of
from exme.search.running import View, candidate_text
from exme.search.study import read
from exme.search.trials import (
    Standing,
    TrialRecord,
    duration,
    incumbents,
    inputs_of,
    standing_by_trial,
    unit_of,
)

from .plane_map import BEST, FAILED, INPUT, PART, TRIAL, colour_scale, plane_map

_WIDE = 96  # so many columns have room for the map beside the words
# Columns of a terminal from which trials are shown with their time, origin and candidate.
_TIME, _ORIGIN, _CANDIDATE = 66, 88, 112
_MAP = (34, 11)
_SCALE = 12  # columns of the map's colours below it
_MOST_ON_MAP = 150  # more trials would take the interpolation seconds
_CURVE = "▁▂▃▄▅▆▇█"


class SearchPanel:
    """A view, laid out for the terminal it is printed on.

    Args:
        view: what to show.
        rows: how many of the last trials.
        note: a line about what goes on now.
    """

    def __init__(self, view: View, rows: int = 8, note: str = "") -> None:
        self.view, self.rows, self.note = view, rows, note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= _WIDE
        words = Group(_summary(self.view), Text(), _budget(self.view, 24 if wide else 16))
        scene = _scene(self.view)
        content: list[RenderableType] = [words]
        if wide and scene is not None:
            columns = Table.grid(expand=True)
            columns.add_column(ratio=1)
            columns.add_column(width=_MAP[0] + 8, no_wrap=True)
            columns.add_row(words, _map(scene, console.color_system is not None))
            content = [columns]
        if self.view.trials:
            content += [Text(), _trials(self.view, self.rows, options.max_width)]
        found = self.view.verdict
        if found is not None and found.is_final:
            content += [Text(), Text(found.sentence, style="bold")]
        if self.note:
            content += [Text(), Text(self.note, style="dim")]
        yield Panel(
            Group(*content), title=Text(self.view.study, style="bold"), title_align="left",
            border_style="dim", padding=(1, 2),
        )  # fmt: skip


def _summary(view: View) -> RenderableType:
    best, other = view.best, view.best_input
    if best is None or best.trial.candidate is None:
        return Text("No candidate has been scored yet.")
    trial, candidate, interval = best.trial, best.trial.candidate, best.interval
    unit = best.unit
    told = f"trial {trial.number}, {trial.origin}"
    grid = _labelled()
    score = (f"{unit.score(interval.estimate)} ", "bold green")
    grid.add_row("Best", Text.assemble(score, f"{unit.ends(interval)}  ", (told, "dim")))
    if not best.is_complete:
        grid.add_row("", Text(f"by {best.documents_text} so far", style="dim"))
    for name, coefficient in candidate.coefficients.items():
        grid.add_row("", _term(name, coefficient))
    grid.add_row("", Text(str(read(candidate.coefficients)), style="dim"))
    found = view.verdict if view.proved_gain is not None else None
    gain = view.proved_gain or view.gain
    if gain is not None and other is not None:
        over = view.name_of(other) if found is None or found.gain is None else found.gain.over[0]
        change = (f"{unit.signed(gain.estimate)} ", "bold")
        ends = f"{unit.ends(gain, sign=True)} "
        grid.add_row("Gain", Text.assemble(change, ends, (f"over {over}", "dim")))
        where = "expected on other documents; the proof will tell"
        grid.add_row("", Text("on the report documents" if found else where, style="dim"))
    elif other is not None:
        grid.add_row("Gain", Text("none yet: the best is an input", style="dim"))
    curve = _curve(view)
    if curve:
        grid.add_row("So far", Text.assemble(*curve))
    return grid


def _labelled() -> Table:
    """Words beside their labels, also where they wrap."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", min_width=7)
    return grid


def _term(name: str, coefficient: float) -> Text:
    shown = name if len(name) <= 24 else f"{name[:23]}…"
    return Text.assemble(f"{coefficient:+7.3f} ", ("× ", "dim"), f"({shown} − base)")


def _curve(view: View) -> list[tuple[str, str]]:
    """The incumbent's score over the trials, by what is known now, with its ends; at most 32 characters wide beside them."""
    race_log = [s.mean for _, s in incumbents(view.trials, view.standings)]
    if len(race_log) < 2 or min(race_log) == max(race_log):
        return []
    step = max(1, -(-len(race_log) // 32))
    low, high = min(race_log), max(race_log)
    heights = [(value - low) / (high - low) for value in race_log[::-1][::step][::-1]]
    curve = "".join(_CURVE[round(h * (len(_CURVE) - 1))] for h in heights)
    unit = unit_of(view.standings)
    first, last = (unit.score(s) for s in (race_log[0], race_log[-1]))
    return [(f"{first} ", "dim"), (curve, "green"), (f" {last}", "dim")]


def _budget(view: View, width: int) -> RenderableType:
    grid = _labelled()
    for name, words, share in view.progress:
        bar = ProgressBar(total=1, completed=share, width=width, complete_style="cyan")
        grid.add_row("Budget", bar, Text(f"{words} {name}"))
    _, documents, minutes = view.used
    running = sum(trial.state == "running" for trial in view.trials)
    told = [f"{documents:,} documents, {duration(60 * minutes)} of scoring"]
    is_final = view.verdict is not None and view.verdict.is_final
    if view.seconds_left and not is_final:
        told.append(f"about {duration(view.seconds_left)} left with the proof")
    if running:
        told.append(f"{running} running")
    if view.is_over and not is_final:
        told.append(f"proof: {min(view.proved, view.to_prove)} of {view.to_prove} models scored")
    spent = _labelled()
    spent.add_row("Spent", Text("; ".join(told), style="dim"))
    return Group(grid, spent)


def _scene(view: View) -> Scene | None:
    best = view.best
    if best is None or best.trial.candidate is None or len(best.trial.candidate.coefficients) < 2:
        return None
    # The inputs and the latest: enough to interpolate from.
    inputs = inputs_of(view.standings, view.trials, view.inputs)
    latest = view.standings[-_MOST_ON_MAP:]
    shown = [*(s for s in inputs if s not in latest), *latest]
    return scene_of(shown if best in shown else [*shown, best], best, failed_of(view.trials))


class _map:  # noqa: N801  (a renderable, used as a function)
    """The map with its axes."""

    def __init__(self, scene: Scene, colours: bool) -> None:
        self.scene, self.colours = scene, colours

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        scene, (width, height) = self.scene, _MAP
        (x0, x1), (y0, y1) = scene.limits.values()
        across, up = (scene.names[axis] for axis in scene.axes)
        yield Text(f"{'':6}↑ {up[:24]}", style="dim")
        for row, line in enumerate(plane_map(scene, width, height, colours=self.colours)):
            value = y1 - (row + 0.5) / height * (y1 - y0)
            label = f"{round(value, 1) + 0.0:5.1f} " if row % 5 == 0 else " " * 6
            yield Text.assemble((label, "dim"), line)
        left, right = f"{x0:.1f}", f"{x1:.1f}"
        name = f"{across[:20]} →"
        yield Text(f"{'':6}{left}{name:^{width - len(left) - len(right)}}{right}", style="dim")
        if scene.has_surface:
            scale = colour_scale(scene, _SCALE, colours=self.colours)
            scale.pad_left(6 + (width - len(scale)) // 2)
            yield scale
        part = f" {PART} in part" if not scene.whole.all() else ""
        lost = f" {FAILED} failed" if len(scene.failed) else ""
        yield Text(f"{BEST} best {INPUT} inputs {TRIAL} trials{part}{lost}".rjust(width + 6), "dim")


def _trials(view: View, rows: int, width: int) -> Table:
    """The last trials; on a narrow terminal without what is needed least."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    table.add_column("trial", justify="right")
    if width >= _ORIGIN:
        table.add_column("origin", no_wrap=True, max_width=20)
    if width >= _CANDIDATE:
        table.add_column("candidate", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("score", no_wrap=True)
    table.add_column("documents", justify="right")
    if width >= _TIME:
        table.add_column("time", justify="right", no_wrap=True)
    best = view.best.trial if view.best is not None else None
    shown = [t for t in view.trials if t.state != "waiting"][-rows:]
    known = standing_by_trial(view.standings, shown)
    for trial in shown:
        is_best = best is not None and trial.number == best.number
        score, count, seconds = _result(trial, known.get(trial.number))
        cells = {
            "trial": str(trial.number), "origin": trial.origin, "candidate": _candidate(trial),
            "score": score, "documents": count, "time": seconds,
        }  # fmt: skip
        style = "bold green" if is_best else "dim" if trial.scores is None else ""
        table.add_row(*(Text(cells[str(column.header)]) for column in table.columns), style=style)
    return table


def _candidate(trial: TrialRecord) -> str:
    """A trial's candidate without alpha and beta, which the summary has of the best."""
    if trial.candidate is None:
        return ""
    reading = f" ({read(trial.candidate.coefficients)})"
    return candidate_text(trial.candidate).replace(reading, "")


def _result(trial: TrialRecord, standing: Standing | None) -> tuple[str, str, str]:
    if trial.duplicate_of is not None:
        return f"as trial {trial.duplicate_of}", "", ""
    if standing is None:
        return shorten(f"{trial.state} {trial.message}", 40, placeholder=" …"), "", ""
    score = standing.unit.line(standing.interval)
    state = "" if standing.is_complete else f" {trial.state}"
    return f"{score}{state}", f"{standing.count:,}", f"{trial.seconds:.1f} s"
