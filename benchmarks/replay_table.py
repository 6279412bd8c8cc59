"""The table and the plot of replayed searches: `python -m benchmarks.replay_table --plot docs/regret.png`.

Reads what `benchmarks.replay` wrote.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .landscape import FOLDER
from .replay import METHODS, quartiles

Found = dict[str, dict[str, Any]]


def read(folder: Path) -> dict[str, Found]:
    """Results by landscape and method."""
    found: dict[str, Found] = {}
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text())
        found.setdefault(data["landscape"], {})[data["method"]] = data
    return found


def table(landscape: str, found: Found) -> str:
    """One landscape's table."""
    any_one = next(iter(found.values()))
    lines = [
        (
            f"**{landscape}**: {any_one['documents']} documents, best {any_one['top']:.1%}, "
            f"standard error {any_one['standard error']:.1%}"
        ),
        "",
        "| method | documents needed (quartiles) | with the finalist scored on all | never | races lost, wrongly |",
        "|---|---|---|---|---|",
    ]
    for name in METHODS:
        if name in found:
            data = found[name]
            low, middle, high = map(_number, quartiles(data["needed"]))
            settled = _number(quartiles(data["settled"])[1])
            never = sum(x is None for x in data["needed"]) / len(data["needed"])
            wrong = (
                f"{data['stops']}, {data['wrong'] / data['stops']:.2%}" if data["stops"] else "–"
            )
            budget = f" of {data['budget']:,}" if never else ""
            lines.append(
                f"| {name} | {middle} ({low} to {high}) | {settled} | {never:.0%}{budget} | {wrong} |"
            )
    marks = sorted({m for data in found.values() for m in data["marks"]})
    lines += ["", "Median regret in points after so many times all documents:", ""]
    lines += [
        f"| method | {' | '.join(f'{m:g}' for m in marks)} |",
        "|---" * (len(marks) + 1) + "|",
    ]
    for name in METHODS:
        if name in found:
            by_mark = dict(zip(found[name]["marks"], found[name]["regret"], strict=True))
            cells = [f"{100 * by_mark[m][1]:.1f}" if m in by_mark else "" for m in marks]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f}"


def plot(results: dict[str, Found], path: Path) -> None:
    """Regret against documents, one picture a landscape; bands hold half of the searches."""
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (landscape, found) in zip(places, results.items(), strict=False):
        for colour, name in enumerate(METHODS):
            if name in found:
                data = found[name]
                x = [m * data["documents"] for m in data["marks"]]
                low, middle, high = ([100 * r[i] for r in data["regret"]] for i in range(3))
                ax.plot(x, middle, label=name, color=f"C{colour}")
                ax.fill_between(x, low, high, alpha=0.15, color=f"C{colour}", linewidth=0)
        ax.axhline(100 * next(iter(found.values()))["standard error"], color="#555555", ls=":")
        ax.set(xscale="log", ylim=(0, None), title=landscape, xlabel="documents scored")
    for ax in places[::columns]:
        ax.set_ylabel("regret, points")
    for ax in places[len(results) :]:
        ax.remove()
    lines = {str(line.get_label()): line for ax in figure.axes for line in ax.lines[:-1]}
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=4, frameon=False
    )
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER / "replays")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    results = read(options.folder)
    for landscape, found in results.items():
        print(table(landscape, found), end="\n\n")
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
