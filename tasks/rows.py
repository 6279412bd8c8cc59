"""Rows of a data set: from the hub, from a folder of JSON lines, or from the package."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from .errors import UserError, one_line
from .suite import Suite

# What may be an escaped surrogate, or an integer beyond 64 bits.
_SUSPECT = re.compile(r"\\u[dD][89a-fA-F]|\d{19}")
MINI_DATA = Path(__file__).parent / "mini" / "data"


class Rows(Protocol):
    """A suite's data, wherever it lives."""

    def where(self, subset: str | None, split: str) -> str:
        """What error messages call a split."""
        ...

    def has(self, subset: str | None, split: str) -> bool:
        """Whether there is such a split."""
        ...

    def read(self, subset: str | None, split: str) -> list[dict[str, Any]]:
        """All rows of a split, in order.

        Raises:
            UserError: there is no such split, or a row is not what the suite needs.
        """
        ...


def open_rows(suite: Suite, data: str) -> Rows:
    """A suite's data from ``hub``, ``mini`` or a folder."""
    if data == "hub":
        return HubRows(suite)
    return FolderRows(suite, MINI_DATA if data == "mini" else Path(data).expanduser())


class FolderRows:
    """JSON lines in ``<suite>/[<subset>/]<split>.jsonl``, or ``<suite>/<split>/<subset>.jsonl``."""

    def __init__(self, suite: Suite, folder: Path) -> None:
        self.suite = suite
        self.folder = folder / (suite.folder or suite.suite)

    def _path(self, subset: str | None, split: str) -> Path:
        if subset is None:
            return self.folder / f"{split}.jsonl"
        turned = self.folder / split / f"{subset}.jsonl"
        return turned if _is_file(turned) else self.folder / subset / f"{split}.jsonl"

    def where(self, subset: str | None, split: str) -> str:
        """See `Rows.where`."""
        return str(self._path(subset, split))

    def has(self, subset: str | None, split: str) -> bool:
        """See `Rows.has`."""
        return _is_file(self._path(subset, split))

    def read(self, subset: str | None, split: str) -> list[dict[str, Any]]:
        """See `Rows.read`."""
        path = self._path(subset, split)
        if not _is_file(path):
            raise UserError(
                f"{path}: no such file; suite '{self.suite.suite}' expects its split '{split}' "
                f"there, one JSON object a line with the columns {', '.join(self.suite.columns)}"
            )
        rows: list[dict[str, Any]] = []
        with path.open(encoding="utf-8") as lines:
            try:
                for line in lines:
                    row = json.loads(line)
                    check_columns(self.suite, row, f"{path}:{len(rows) + 1}")
                    if _SUSPECT.search(line):
                        check_values(row, f"{path}:{len(rows) + 1}")
                    rows.append(row)
            # ValueError: not JSON, not text, or a number of thousands of digits.
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{path}:{len(rows) + 1}: not a JSON object in UTF-8 ({error}); write one JSON "
                    f"object a line"
                ) from None
        return rows


# The hub is asked once, and shortly, whether it answers, before libraries ask it with retries of their own.
SECONDS = 5.0
UNREACHABLE = f"it gave no answer within {SECONDS:g} s"


@functools.cache
def hub_is_reachable() -> bool:
    """Whether the hub, or the mirror that HF_ENDPOINT names, answers at all within `SECONDS`.

    Where it does not, or HF_HUB_OFFLINE is set, only what is in the hub's cache can be had.
    """
    from huggingface_hub import constants, get_session  # noqa: PLC0415  (slow)

    answers = threading.Event()

    def ask() -> None:
        with contextlib.suppress(Exception):  # (no network, no name, no route: they share no class)
            get_session().head(constants.ENDPOINT, timeout=SECONDS)
            answers.set()
        over.set()

    if constants.is_offline_mode():
        return False
    over = threading.Event()
    threading.Thread(target=ask, name="exme-hub", daemon=True).start()
    over.wait(SECONDS)  # (a name server that is silent goes by no timeout of ours)
    return answers.is_set()


@contextlib.contextmanager
def offline_unless_reachable() -> Iterator[None]:
    """Have `datasets` look into the hub's cache alone where the hub does not answer."""
    if hub_is_reachable():
        yield
        return
    import datasets  # noqa: PLC0415  (slow)
    from huggingface_hub import constants  # noqa: PLC0415

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


class HubRows:
    """A data set of the hub, through `datasets`."""

    def __init__(self, suite: Suite) -> None:
        if suite.hub is None:
            raise UserError(
                f"suite '{suite.suite}' is not on the hub; give a folder of JSON lines with "
                f"`data:` in the study file or EXME_DATA"
            )
        self.suite = suite
        self.hub = suite.hub
        self._loaded: dict[str | None, Any] = {}

    def where(self, subset: str | None, split: str) -> str:
        """See `Rows.where`."""
        return f"{self.hub.path} {subset or ''}, split {split}"

    def has(self, subset: str | None, split: str) -> bool:
        """See `Rows.has`."""
        return split in self._load(subset)

    def read(self, subset: str | None, split: str) -> list[dict[str, Any]]:
        """See `Rows.read`."""
        splits = self._load(subset)
        if split not in splits:
            raise UserError(
                f"{self.hub.path}: no split '{split}' (have: {', '.join(splits)}); suite "
                f"'{self.suite.suite}' needs it"
            )
        rows = [dict(row) for row in splits[split]]
        for row in rows[:1]:
            check_columns(self.suite, row, self.where(subset, split))
        return rows

    def _load(self, subset: str | None) -> Any:
        if subset not in self._loaded:
            import datasets  # noqa: PLC0415  (slow to import, needed for the hub only)
            from huggingface_hub import constants  # noqa: PLC0415

            hub = self.hub
            try:
                with offline_unless_reachable():
                    self._loaded[subset] = datasets.load_dataset(hub.path, subset or hub.name)
            except Exception as error:  # noqa: BLE001  (the hub, the disk, the format, ...)
                reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
                if not hub_is_reachable() and not constants.is_offline_mode():
                    reason = f"{UNREACHABLE}, and it is not in the cache"
                raise UserError(
                    f"suite '{self.suite.suite}': cannot load '{hub.path}' from the hub "
                    f"({reason}); check the network, or give a folder of "
                    f"JSON lines with `data:` in the study file or EXME_DATA"
                ) from None
        return self._loaded[subset]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name that is too long
        return False


def check_values(row: dict[str, Any], where: str) -> None:
    """Refuse what JSON may say and a data set of lm-eval's cannot hold.

    Raises:
        UserError: names the place and the column.
    """
    for column, value in row.items():
        found = [value]
        for each in found:
            if isinstance(each, dict):
                found += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                found += each
            elif isinstance(each, int) and not -(2**63) <= each < 2**63:
                raise UserError(
                    f"{where}: column '{column}' holds {one_line(str(each), 40)}, an integer beyond 64 bits; "
                    f"write it as a string"
                )
            elif isinstance(each, str) and any(0xD800 <= ord(sign) < 0xE000 for sign in each):
                raise UserError(
                    f"{where}: column '{column}' holds half of a surrogate pair, which is no character; "
                    f"write the character"
                )


def check_columns(suite: Suite, row: object, where: str) -> None:
    """Refuse a row that lacks what the suite's lm-eval task reads.

    Raises:
        UserError: names the place and the column.
    """
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected a JSON object, found {type(row).__name__}")
    missing = [c for c in suite.columns if c not in row]
    if missing:
        raise UserError(
            f"{where}: column '{missing[0]}' is missing (found: {', '.join(row) or 'none'}); suite "
            f"'{suite.suite}' needs {', '.join(suite.columns)}"
        )
    empty = [c for c in suite.columns if row[c] is None]
    if empty:
        raise UserError(f"{where}: column '{empty[0]}' is null; suite '{suite.suite}' needs it")
