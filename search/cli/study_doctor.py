"""What of a study would go wrong in a search, tried without one: models, prompts, answers, metrics, room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from exme.tasks import UserError, one_line

from .doctor import ABSENT, BROKEN, OK, Finding, storage_finding
from .options import open_beside

if TYPE_CHECKING:
    from exme.evaluators.harness import Evaluation, Judge
    from exme.search.opening import Likeness
    from exme.search.running import Screen, Search
    from exme.search.scoring import Worker

_FEW = 32  # documents that every input answers
_MUCH = 0.05  # share of answers that is worth a word


def examine_study(path: Path, task: str | None, screen: Screen) -> Iterator[Finding]:
    """Try all that a search of a study needs; its run stays as it is.

    Args:
        path: the study file.
        task: suites, as `open_search` takes them.
        screen: says what goes on.
    """
    from exme.search.study import load_study_file  # noqa: PLC0415

    try:
        study = load_study_file(path)
        if study.storage is not None:
            yield storage_finding(study.storage)
        with open_beside(study, path, task, screen) as search:
            yield Finding(
                "study", OK, f"{path}: it opens, and its checkpoints fit the base by their headers"
            )
            yield _hub(search)
            yield from _documents(search)
            yield from _room(search)
            worker = search.worker_here()
            yield from _models(search, worker)
            yield from _answers(search, worker)
    except UserError as error:
        yield Finding(
            "study", BROKEN, str(error), "a search refuses this; put it right, and ask again"
        )
    except Exception as error:  # noqa: BLE001  (whatever a metric or a model raises: the rest still counts)
        told = f"{type(error).__name__}: {one_line(str(error))}"
        yield Finding(
            "study", BROKEN, told, "candidates of a search fail with this; see the message"
        )


def _hub(search: Search) -> Finding:
    from exme.search.merging.sources import is_hub_id  # noqa: PLC0415

    study = search.study
    models = [place for place in (study.base, *study.checkpoints.values()) if is_hub_id(place)]
    needed = [*models, *(["the suites' data"] if study.data == "hub" else [])]
    if needed:
        told = f"{', '.join(needed)} came from the hub or its cache"
        return Finding("hub, for this study", OK, told)
    return Finding("hub, for this study", OK, "not needed: models and data are local")


def _documents(search: Search) -> Iterator[Finding]:
    """What is known of the suites before any model answers."""
    for documents in search.documents:
        suite = documents.suite
        way = (
            "higher is better"
            if suite.higher_is_better is not False
            else "lower is better, so a search lowers it"
        )
        yield Finding(f"metric of {suite.suite}", OK, f"{suite.metric_name}: {way}")
        pairs, name = documents.near_duplicates, f"documents of {suite.suite}"
        if pairs:
            told = f"{len(pairs)} read the same in two parts (few-shot, search, report), e.g. {' and '.join(pairs[0])}"
            yield Finding(
                name,
                ABSENT,
                told,
                "take them out of one part, or the proof is partly on what was searched",
            )
        else:
            told = f"{len(documents.search)} to search on, {len(documents.report)} to report on, none in two parts"
            yield Finding(name, OK, told)


def _room(search: Search) -> Iterator[Finding]:
    """Memory and disk."""
    from exme.search.opening import LIBRARIES, size_text  # noqa: PLC0415

    weights = search.weights
    needed, free = LIBRARIES + weights.live + weights.sources, psutil.virtual_memory().available
    told = f"about {size_text(needed)} with all sources beside the live model, {size_text(free)} are free"
    if needed > free:
        yield Finding(
            "memory",
            ABSENT,
            told,
            "sources stay on disk (`residence: mapped`): slower; or a smaller dtype",
        )
    else:
        yield Finding("memory", OK, told)
    free = shutil.disk_usage(Path().absolute()).free
    told = f"an export takes {size_text(weights.exported)}, {size_text(free)} are free here"
    if weights.exported > free:
        yield Finding(
            "disk, for this study", ABSENT, told, "make room, or export elsewhere with --out"
        )
    else:
        yield Finding("disk, for this study", OK, told)


def _models(search: Search, worker: Worker) -> Iterator[Finding]:
    """Whether inputs are themselves, and fine-tunes."""
    from exme.search.opening import kinship_of, likenesses, tolerance  # noqa: PLC0415

    most = tolerance(worker)
    for found in likenesses(worker, search.inputs(), search.screen.note):
        yield _likeness(found, most)
        if found.asked:
            yield Finding(
                f"asking {found.name}", ABSENT, "; ".join(found.asked),
                "all candidates are asked as the base is; copy what is meant into the base's folder",
            )  # fmt: skip
    family = kinship_of(search.sources)
    odd = list(family.odd())
    for line in odd:
        yield Finding(
            "checkpoints",
            ABSENT,
            line,
            "leave it out of `checkpoints`, or give the base that it is of",
        )
    if not odd:
        lengths = ", ".join(f"{name} {length:.3f}" for name, length in family.lengths.items())
        told = f"fine-tunes, all different; task vectors over the base's length: {lengths}"
        yield Finding("checkpoints", OK, "; ".join([told, *family]))
    yield _template(search, worker)


def _likeness(found: Likeness, most: float) -> Finding:
    from exme.search.opening import refusal  # noqa: PLC0415

    name = f"input {found.name}"
    if found.off is None:
        remedy = "free the memory, or install what is missing, to have it compared"
        return Finding(name, ABSENT, found.reason, remedy)
    if not found.off <= most:
        remedy = "compare its config.json with the base's, or leave it out"
        return Finding(name, BROKEN, refusal(found, most), remedy)
    told = f"as its own model: logits differ by {found.off:.2%} of their spread, at most (rounding: {most:.0%})"
    return Finding(name, OK, told)


def _template(search: Search, worker: Worker) -> Finding:
    from exme.search.merging.folders import read_template  # noqa: PLC0415

    own = worker.live.tokenizer.chat_template is not None
    theirs = [n for n, s in search.sources.every.items() if read_template(s.folder) is not None]
    if search.study.chat.apply_chat_template:
        return Finding("chat template", OK, "the base's is applied to every prompt")
    if not own and not theirs:
        return Finding("chat template", OK, "no input has one, and prompts are plain")
    having = ", ".join([*(["the base"] if own else []), *theirs])
    told = f"{having} have one, and prompts are plain: chat models may answer worse"
    way = (
        "set chat.apply_chat_template to true"
        if own
        else "give the base's folder a chat template, then apply it"
    )
    return Finding(
        "chat template", ABSENT, told, f"{way}; or leave it, if the suite is meant to be plain"
    )


def _answers(search: Search, worker: Worker) -> Iterator[Finding]:
    """What every input answers to a few documents."""
    judges = worker.judges("search")
    for judge in judges:
        yield _examples(judge)
    found: dict[str, list[Evaluation]] = {}
    for name, candidate in search.inputs().items():
        search.screen.note(f"Having {name} answer")
        worker.take_in(candidate)
        found[name] = [
            judge.score(worker.engine, range(min(_FEW, len(judge.documents)))) for judge in judges
        ]
    for place, judge in enumerate(judges):
        of_suite = {name: each[place] for name, each in found.items()}
        if judge.longest_answer:
            yield _endings(judge, list(of_suite.values()))
        yield _floor(judge, {name: evaluation.scores.mean for name, evaluation in of_suite.items()})


def _examples(judge: Judge) -> Finding:
    """Whether a prompt shows its document's own question as an example."""
    name = f"few-shot examples of {judge.suite.suite}"
    shown = [d.id for d, prompt, q in zip(judge.documents, judge.prompts, judge.questions, strict=True)
             if len(q) > 8 and prompt.count(q) > 1]  # fmt: skip
    if shown:
        told = f"{len(shown)} of {len(judge.documents)} prompts hold their own question twice, e.g. {shown[0]}"
        return Finding(
            name,
            BROKEN,
            told,
            "take examples from a split of their own: `fewshot` in the suite file",
        )
    return Finding(
        name, OK, f"no prompt of {len(judge.documents)} shows its own question as an example"
    )


def _endings(judge: Judge, found: Sequence[Evaluation]) -> Finding:
    name = f"answers of {judge.suite.suite}"
    shares = {
        what: max(sum(each.scores.audit[what]) / each.scores.count for each in found)
        for what in ("cut", "empty", "unextracted")
    }
    told = ", ".join(f"{what} {share:.0%}" for what, share in shares.items())
    told = f"of the input with most, of {found[0].scores.count} documents: {told} (limit {judge.longest_answer} tokens)"
    if shares["cut"] > _MUCH:
        return Finding(
            name,
            ABSENT,
            told,
            "raise `max_gen_toks` in the study file, or check the suite's stop strings",
        )
    if shares["empty"] > _MUCH or shares["unextracted"] > 0.5:
        return Finding(
            name,
            ABSENT,
            told,
            "look at a few answers (exme verify): prompt, chat template or filter",
        )
    return Finding(name, OK, told)


def _floor(judge: Judge, means: dict[str, float]) -> Finding:
    """Whether scores can tell candidates apart: above guessing, below the top, and not all the same."""
    name, count = f"scores of {judge.suite.suite}", min(_FEW, len(judge.documents))
    told = f"{', '.join(f'{n} {m:.3g}' for n, m in means.items())} on {count} documents"
    if len(set(means.values())) == 1 and len(means) > 1:
        return Finding(
            name,
            ABSENT,
            f"all inputs score the same: {told}",
            "more documents, or another suite or prompt",
        )
    choices = [len(each) for each in judge.requests if each[0].request_type == "loglikelihood"]
    if choices and judge.suite.metric.startswith("acc"):
        chance = sum(1 / n for n in choices) / len(choices)
        error = (chance * (1 - chance) / count) ** 0.5
        told += f"; guessing gives {chance:.3g}"
        if max(means.values()) < chance + 2 * error:
            return Finding(
                name,
                ABSENT,
                f"no input is clearly above guessing: {told}",
                "another suite, or better inputs",
            )
    return Finding(name, OK, told)
