"""`exme compare`: any models, or what lm-eval has written of them, against each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import RUNS_DEFAULT, RunsOption, TaskOption, aside

if TYPE_CHECKING:
    from exme.search.proof import Comparison
    from exme.search.running import Screen
    from exme.search.study import StudyFile


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Hub ids, folders, mini models, names of a study's models, or name=place; or samples that lm-eval wrote.",
            show_default=False,
        ),
    ],
    task: TaskOption = None,
    study: Annotated[
        Path | None, typer.Option(help="Study whose settings hold, and whose models may be named.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="hub, mini, or a folder of JSON lines.")] = None,
    documents: Annotated[
        int | None, typer.Option(min=1, help="Report documents of each suite. Default: all.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Of lm-eval's samples: metric,filter.")] = None,
    runs: RunsOption = RUNS_DEFAULT,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Score models on report documents and say who beats whom, by how much, and how sure that is.

    Paired tests, as in a search's proof. What was scored is kept in the folder of runs, so that the same command goes on after an
    interruption; one model at a time is in memory. Each comparison is another use of these documents, as a proof is: the second
    is tested at a stricter level, so name all models at once.

    Given two or more files or folders that lm-eval's `--log_samples` wrote, no model is loaded, and no use is counted.

    Example: `exme compare mini/base mini/sums mini/products --task gsm8k --data mini`
    """
    from exme.evaluators.harness import is_samples  # noqa: PLC0415
    from exme.tasks import UserError  # noqa: PLC0415

    if len(models) < 2:
        raise UserError(f"compare: found one model ({models[0]}), expected two or more")
    sampled = [is_samples(Path(word.partition("=")[2] or word)) for word in models]
    if any(sampled) and not all(sampled):
        other = models[sampled.index(False)]
        raise UserError(
            f"compare: {other} holds no samples of lm-eval's, and others do; give samples alone, or models alone"
        )
    if metric is not None and not all(sampled):
        raise UserError("compare: --metric is of lm-eval's samples; of models the suites say it")
    with aside() as screen:
        if all(sampled):
            found = _of_samples(models, metric)
        else:
            found = _of_models(models, task, study, data, documents, runs, screen)
    typer.echo(dumps(facts(found)) if json else text(found))


def _of_samples(words: Sequence[str], metric: str | None) -> Comparison:
    from exme.evaluators.harness import read_samples  # noqa: PLC0415
    from exme.search.proof import compare_models  # noqa: PLC0415
    from exme.search.study import name_checkpoints  # noqa: PLC0415
    from exme.tasks import UserError  # noqa: PLC0415

    places = name_checkpoints(words)
    found = {name: read_samples(Path(place), metric) for name, place in places.items()}
    first, *others = found
    for other in others:
        ours = {part.suite: part for part in found[first].parts}
        theirs = {part.suite: part for part in found[other].parts}
        if ours.keys() != theirs.keys():
            raise UserError(
                f"compare: {first} has samples of {', '.join(ours)}, {other} of {', '.join(theirs)}; give the same tasks"
            )
        for suite, part in ours.items():
            shared = set(part.documents) & set(theirs[suite].documents)
            if part.metric != theirs[suite].metric or len(shared) != max(
                part.count, theirs[suite].count
            ):
                raise UserError(
                    f"compare: {suite}: {first} has {part.count} documents by {part.metric}, {other} "
                    f"{theirs[suite].count} by {theirs[suite].metric}, {len(shared)} of them the same; they must agree"
                )
    return compare_models(found)


def _of_models(
    words: Sequence[str],
    task: str | None,
    path: Path | None,
    data: str | None,
    documents: int | None,
    runs: Path,
    screen: Screen,
) -> Comparison:
    from exme.search.running import compare as compare_them, open_stored  # noqa: PLC0415
    from exme.search.study import (  # noqa: PLC0415
        load_study_file,
        name_checkpoints,
        pick_suites,
    )
    from exme.tasks import UserError, load_suite  # noqa: PLC0415

    own = None if path is None else load_study_file(path)
    known = {} if own is None else {"base": own.base, **own.checkpoints}
    models = {word: known[word] for word in words if word in known}
    models |= name_checkpoints([word for word in words if word not in known])
    if task is None and own is None:
        raise UserError(
            "compare: --task is missing; name the suites to score on, e.g. --task gsm8k"
        )
    settings = own or _plain(models, str(task), data)
    task = task or load_suite(settings.suites[0]).suite
    changed: dict[str, Any] = {} if data is None else {"data": data}
    if documents is not None:
        changed["documents"] = settings.documents.model_copy(update={"report": documents})
    settings = settings.model_copy(update=changed)
    suites = pick_suites(settings, task, "compare" if path is None else str(path))
    stored = None
    if path is not None:
        try:
            stored = open_stored(path, task, runs).storage
        except UserError:  # not begun: nobody has used its documents
            stored = None
    return compare_them(models, settings, suites, runs, screen, stored)


def _plain(models: Mapping[str, str], task: str, data: str | None) -> StudyFile:
    """Settings as `exme init` writes them."""
    from exme.search.study import StudyFile  # noqa: PLC0415
    from exme.tasks import UserError  # noqa: PLC0415

    mini = all(where.startswith("mini/") for where in models.values())
    given = data or os.environ.get("EXME_DATA") or ("mini" if mini else "hub")
    first = next(iter(models.values()))
    names = [name.strip() for name in task.split(",")]
    try:
        return StudyFile.model_validate(
            {
                "base": first,
                "checkpoints": {"model": first},
                "suites": names,
                "data": given,
                "documents": {"search": None},  # (none is searched on, however few there are)
            }
        )
    except UserError as error:
        raise UserError(f"compare: {error}") from None


def text(found: Comparison) -> str:
    """Scores of all models, who beats whom, and what a gain would need."""
    from exme.search.statistics import mean_interval  # noqa: PLC0415
    from exme.search.trials import Unit, count_of  # noqa: PLC0415

    lines: list[str] = []
    width = max(map(len, found.scores))
    for number, part in enumerate(next(iter(found.scores.values())).parts):
        lines.append(f"{part.suite}, {part.metric}, {count_of(part)}:")
        for name, scores in found.scores.items():
            mine = scores.parts[number]
            lines.append(f"  {name:<{width}}  {Unit([mine]).full(mean_interval(mine))}")
    lines += ["", *(pair.sentence for pair in found.pairs)]
    if len(found.pairs) > 1:
        lines.append(
            f"The {len(found.pairs)} pairs share the chance of an error, so that each has a wider interval."
        )
    return "\n".join([*lines, *([found.needs] if found.needs else [])])


def facts(found: Comparison) -> dict[str, Any]:
    """The same for machines."""
    import math  # noqa: PLC0415

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "use": found.use,
        "models": {
            name: {
                part.suite: {
                    "metric": part.metric,
                    "documents": part.count,
                    "score": part.scale.turn(part.mean),
                }
                for part in scores.parts
            }
            for name, scores in found.scores.items()
        },
        "pairs": [
            {
                "better": pair.better,
                "worse": pair.worse,
                "proved": pair.proved,
                "gain": {
                    "estimate": pair.gain.estimate,
                    "low": finite(pair.gain.low),
                    "high": finite(pair.gain.high),
                    "level": pair.gain.level,
                    "p": pair.gain.p,
                },
                "won": pair.gain.won,
                "lost": pair.gain.lost,
                "documents_needed": pair.needed,
                "sentence": pair.sentence,
            }
            for pair in found.pairs
        ],
    }
