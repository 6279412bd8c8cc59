"""Every parser of what people and strangers write, as a function of bytes, and bytes to try on it.

A target returns, or raises a UserError; anything else is a bug. Used by `test_fuzzing.py`, for seconds,
and by `benchmarks/fuzz.py`, for as long as one likes.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exme.evaluators.fast.store import DraftStore
from exme.search.cli.main import _run, app
from exme.search.merging.folders.recipe import read_recipe
from exme.search.merging.sources.adapter import Adapter
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.fit import check_fit
from exme.search.reports.exports.model_card import read_licence
from exme.search.scoring.answers import load_answers
from exme.search.study.study_file import load_study_file
from exme.tasks.errors import UserError, one_line
from exme.tasks.rows import FolderRows
from exme.tasks.suite import load_suite

from .malformed.given import good_folder

Target = Callable[[bytes], None]

# What mutations insert: pieces that parsers treat in a way of their own.
TOKENS = [
    *(b"\0 \xff \xef\xbb\xbf \n \r\n \t : :: - --- ... { } [ ] [[[[ {{{{ , \" ' # & * &a *a << ? | > ! !!").split(b" "),
    b"!!python/object/apply:os.system [ls]", b"!!binary x", b"!!set {a}", b"2020-13-45", b"1e999",
    b".nan", b".inf", b"-0", b"0x10", b"1_000", b"190:20:30", b"9" * 5000, b"\\u0000", b"\\ud800",
    b"null", b"true", b"../", b"/etc/passwd", b"~", b"a\0b", b"x" * 5000, b"%s", b"{}", b"[]",
    b"\x01\x02", bytes(8), b"\xff" * 8, b"\x80\x04\x95", b"PK\x03\x04",
]  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """One change to some bytes: replaces `length` of them, from `place` (a share of all), by `new`."""

    place: float
    length: int
    new: bytes


def mutate(seed: bytes, edits: Sequence[Edit]) -> bytes:
    """Apply edits one after the other."""
    for edit in edits:
        at = int(edit.place * len(seed))
        seed = seed[:at] + edit.new + seed[at + edit.length :]
    return seed


class Targets:
    """The targets, and a good input of each.

    Args:
        folder: an empty folder to work in, the current one while a target runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = good_folder(folder)
        self.base = Checkpoint("base", folder / "models" / "base")
        self.scratch = folder / "scratch"
        shutil.copytree(folder / "models" / "math", self.scratch)
        shutil.copytree(folder / "models" / "lora", folder / "adapter")
        self.suite = load_suite(str(folder / "own.yaml"))
        (folder / "drafts.jsonl").write_text('{"document": "a", "answer": [1, 2]}\n')
        (folder / "answers").mkdir()
        (folder / "answers" / "x.json").write_text('{"own": ["w1", "w2"]}')
        (folder / "README.md").write_text("---\nlicense: mit\ntags: [a]\n---\n# A model\n")
        index = '{"weight_map": {"model.norm.weight": "one.safetensors"}}'
        (folder / "models" / "math" / "index.json").write_text(index)
        adapter, math = folder / "adapter", folder / "models" / "math"
        self.targets: Mapping[str, tuple[Target, bytes]] = {
            name: (target, seed.read_bytes())
            for name, target, seed in [
                ("study", self._study, folder / "study.yaml"),
                ("suite", self._suite, folder / "own.yaml"),
                ("recipe", self._recipe, folder / "recipe.json"),
                ("weights", self._weights, math / "model.safetensors"),
                ("settings", self._settings, math / "config.json"),
                ("index", self._index, math / "index.json"),
                ("adapter", self._adapter, adapter / "adapter_config.json"),
                ("adapter weights", self._adapter_weights, adapter / "adapter_model.safetensors"),
                ("data", self._data, folder / "data" / "own" / "train.jsonl"),
                ("drafts", self._drafts, folder / "drafts.jsonl"),
                ("answers", self._answers, folder / "answers" / "x.json"),
                ("model card", self._card, folder / "README.md"),
            ]
        }
        lines = b"search\n--task\nown\n--trials\n5\n--runs\nruns\n--workers\n2"
        self.targets = {**self.targets, "command line": (self._command, lines)}

    def run(self, name: str, data: bytes) -> bool:
        """Whether a target took the bytes; raises what is neither taken nor a UserError of one line."""
        with contextlib.chdir(self.folder):
            try:
                self.targets[name][0](data)
            except UserError as error:
                line = one_line(str(error))
                assert line.isprintable() and line, line
                return False
            return True

    def _study(self, data: bytes) -> None:
        path = self.folder / "fuzzed.yaml"
        path.write_bytes(data)
        load_study_file(path)

    def _suite(self, data: bytes) -> None:
        path = self.folder / "fuzzed.yaml"
        path.write_bytes(data)
        load_suite(str(path))

    def _recipe(self, data: bytes) -> None:
        path = self.folder / "fuzzed.json"
        path.write_bytes(data)
        read_recipe(path)

    def _weights(self, data: bytes) -> None:
        (self.scratch / "model.safetensors").write_bytes(data)
        self._open()

    def _settings(self, data: bytes) -> None:
        math = self.folder / "models" / "math"
        shutil.copy(math / "model.safetensors", self.scratch)
        (self.scratch / "config.json").write_bytes(data)
        try:
            self._open()
        finally:
            shutil.copy(math / "config.json", self.scratch)

    def _index(self, data: bytes) -> None:
        weights = self.scratch / "model.safetensors"
        if weights.exists():
            weights.rename(self.scratch / "one.safetensors")
        (self.scratch / "model.safetensors.index.json").write_bytes(data)
        self._open()

    def _open(self) -> None:
        """All that a search does with a checkpoint's files before a model is made of them."""
        found = Checkpoint("math", self.scratch)
        check_fit(self.base, found)
        assert len(found.fingerprint) == 64
        found.load()

    def _adapter(self, data: bytes) -> None:
        (self.folder / "adapter" / "adapter_config.json").write_bytes(data)
        self._open_adapter()

    def _adapter_weights(self, data: bytes) -> None:
        lora, adapter = self.folder / "models" / "lora", self.folder / "adapter"
        shutil.copy(lora / "adapter_config.json", adapter)
        (adapter / "adapter_model.safetensors").write_bytes(data)
        self._open_adapter()

    def _open_adapter(self) -> None:
        found = Adapter("math", self.folder / "adapter", self.base)
        assert len(found.fingerprint) == 64
        found.load()

    def _data(self, data: bytes) -> None:
        path = self.folder / "fuzzed" / "own" / "train.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        FolderRows(self.suite, self.folder / "fuzzed").read(None, "train")

    def _drafts(self, data: bytes) -> None:
        path = self.folder / "drafts.jsonl"
        path.write_bytes(data)
        DraftStore(path).save()

    def _answers(self, data: bytes) -> None:
        (self.folder / "answers" / "x.json").write_bytes(data)
        assert isinstance(load_answers(self.folder, "x"), dict)

    def _card(self, data: bytes) -> None:
        (self.folder / "README.md").write_bytes(data)
        assert isinstance(read_licence(self.folder), dict)

    def _command(self, data: bytes) -> None:
        # A study that is not there comes first, so that no command gets far.
        command, *options = data.decode(errors="surrogateescape").split("\n")
        arguments = [command, "absent.yaml", *(option for option in options if "\0" not in option)]
        out, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            code = _run(lambda: app(arguments, prog_name="exme", standalone_mode=False))
        assert code in (0, 2), (arguments, code)
        if code == 2:
            lines = said.getvalue().splitlines()
            assert len(lines) == 1 and lines[0].startswith("exme: "), (arguments, lines)
