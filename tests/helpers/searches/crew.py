"""Workers of one study on a landscape, as processes that can be killed; forked, so that each starts at once."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from exme.search.cli.main import _run
from exme.search.merging.candidate import Candidate
from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.scoring.worker import Scored
from exme.search.study.study_file import StudyFile
from exme.tasks.documents import SuiteDocuments
from tests.helpers.searches.landscape import PEAK, Landscape


class Slow(Landscape):
    """A landscape that takes its time, so that a kill meets a running trial."""

    seconds = 0.0

    def score(self, candidate: Candidate, split: str) -> Scored:
        time.sleep(self.seconds)
        return super().score(candidate, split)


@dataclass(frozen=True)
class Crew:
    """What the workers of one study have in common.

    Attributes:
        folder: of the runs, and of what the workers say.
        trials: the study's budget.
        storage: its URL; None is SQLite in the run's folder.
        sampler: of the study.
        seconds: that scoring a candidate takes.
        documents: to search on.
        racing: as the study has it.
        kind: of landscape.
    """

    folder: Path
    trials: int
    storage: str | None = None
    sampler: str = "random"
    seconds: float = 0.0
    documents: int = 64
    racing: str = "off"
    kind: type[Slow] = Slow

    def open(self, lines: Path | None = None) -> Search:
        """Join the study in this process; what is said is appended to a file."""
        content = {
            "base": "mini/base",
            "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
            "data": "mini",
            "documents": {"search": self.documents, "report": 64},
            "budget": {"trials": self.trials},
            "sampler": {"name": self.sampler},
            "storage": self.storage,
            "racing": self.racing,
        }
        stream = open(lines or os.devnull, "a", encoding="utf-8", buffering=1)  # noqa: PTH123, SIM115
        screen = Screen(Console(file=stream, width=200, soft_wrap=True))
        study = StudyFile.model_validate(content)

        def make(documents: Sequence[SuiteDocuments]) -> Slow:
            landscape = self.kind(documents, PEAK)
            landscape.seconds = self.seconds
            return landscape

        return open_search(
            study, "gsm8k", name="crew", runs=self.folder, screen=screen, worker=make
        )

    def start(self, number: int) -> int:
        """Fork a worker; returns its process."""
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            for which in (signal.SIGINT, signal.SIGTERM):
                signal.signal(which, signal.default_int_handler)
            with self.open(self.folder / f"worker-{number}.log") as search:
                search.work()
            code = 0
        except BaseException as error:
            (self.folder / f"worker-{number}.error").write_text(f"{type(error).__name__}: {error}")
            raise
        finally:
            os._exit(code)

    def said(self) -> list[str]:
        """All lines of all workers."""
        logs = sorted(self.folder.glob("worker-*.log"))
        return [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]


def spoken_trials(lines: list[str]) -> dict[int, str]:
    """Origins of the trials that were said to be scored, by number."""
    scored = [line for line in lines if line.startswith("#") and " documents " in line]
    return {int(line[1:].split()[0]): line for line in scored}


def complaints(search: Search, lines: list[str], trials: int) -> list[str]:
    """What is wrong with a finished study of which workers were killed; empty when nothing is.

    Args:
        search: the study, with nobody at work.
        lines: what the workers said.
        trials: its budget.
    """
    wrong = []
    found = search.storage.trials()
    paid = [t for t in found if t.scores is not None and t.duplicate_of is None]
    if len(paid) != trials:
        wrong.append(f"{len(paid)} trials were paid, of {trials}")
    digests = [t.candidate.digest for t in paid if t.candidate]
    if len(set(digests)) != len(digests):
        wrong.append("a candidate was scored twice")
    if left := [t.number for t in found if t.state in ("running", "waiting")]:
        wrong.append(f"left {left}")
    by_number = {t.number: t for t in found}
    wrong += [
        f"trial {number} was said to be scored and is lost"
        for number in spoken_trials(lines)
        if by_number[number].scores is None
    ]
    known = [p.name for p in search.settled.plan.due_points(found)]
    origins = [t.origin for t in found if t.scores is not None]
    for name in known:
        if origins.count(name) != 1:
            wrong.append(f"'{name}' was scored {origins.count(name)} times")
    raw = search.storage.study.get_trials(deepcopy=False)
    again = [t.user_attrs["again"] for t in raw if "again" in t.user_attrs]
    if len(set(again)) != len(again):
        wrong.append("a trial was taken up again twice")
    return wrong + [
        f"trial {record.number} was cut off and not taken up again"
        for record, trial in zip(found, raw, strict=True)
        if record.state == "cut off" and trial.params and record.number not in again
    ]


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def errors(crew: Crew) -> Path:
    """Where a command's stderr goes: beside the folder, whose disk may be full."""
    return crew.folder.with_name(f"{crew.folder.name}-stderr")


def command(crew: Crew, prepare: Callable[[Search], object], work: str = "work") -> int:
    """Fork a process that searches as the command does; what it says to stderr goes to a file."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        sys.stderr = errors(crew).open("w", encoding="utf-8", buffering=1)

        def whole() -> None:
            with crew.open(crew.folder / f"worker-{os.getpid()}.log") as search:
                prepare(search)
                getattr(search, work)()

        code = _run(whole)
    except BaseException:  # noqa: BLE001  (a process of its own ends here)
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)


def said(crew: Crew) -> list[str]:
    text = errors(crew).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip()]


def wait_for_lines(crew: Crew, count: int, among: Callable[[], list[str]] | None = None) -> None:
    deadline = time.monotonic() + 60
    lines = among or (lambda: [line for line in crew.said() if line.startswith("#")])
    while len(lines()) < count:
        assert time.monotonic() < deadline, crew.said()
        time.sleep(0.01)
