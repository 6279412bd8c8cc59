"""Exports load with `from_pretrained`, bit for bit, and are whole or not there at all."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.scores import DocumentScores
from exme.search import export, staging
from exme.search.candidate import Candidate
from exme.search.export import ExportResult, chat_template, export_best, export_model, verify
from exme.search.model_card import model_card, read_licence, scores_file
from exme.search.outcome import Entry, Outcome, TrialRecord
from exme.search.resident import ResidentModel, weights_digest
from exme.search.runner import Search, open_search
from exme.search.screen import Screen
from exme.search.study_file import StudyFile
from exme.search.verdict import verdict
from exme.search.weight_files import write_weights
from exme.tasks.errors import UserError

from .landscape import Landscape
from .small_models import (
    KINDS,
    TEMPLATE,
    WORDS,
    counted_config,
    edit_json,
    edit_weights,
    load_weights,
    make_family,
    open_resident,
)

NAMES = {"base": "mini/base", "math": "someone/math@v1", "code": "folders/code"}
POINT = {"math": 1.3, "code": 0.5}


def candidate(resident: ResidentModel, dtype: str = "bfloat16") -> Candidate:
    return Candidate(POINT, "exme", dtype, resident.sources.fingerprints)


def write(resident: ResidentModel, out: Path, **options: Any) -> ExportResult:
    dtype = str(resident.dtype).removeprefix("torch.")
    options = {"card": "# A card\n", "names": NAMES, **options}
    return export_model(resident, candidate(resident, dtype), out, **options)


@pytest.fixture(scope="module")
def resident(tmp_path_factory: pytest.TempPathFactory) -> ResidentModel:
    return open_resident(make_family(tmp_path_factory.mktemp("family")))


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


# The round trip -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_loads_bit_for_bit(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    resident = open_resident(make_family(tmp_path, kind), dtype=dtype)
    result = write(resident, tmp_path / "out")
    expected = resident.state_dict()
    assert result.weights_digest == weights_digest(expected)
    assert load_weights(result.folder).keys() == expected.keys()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == dtype
    for (name, loaded), live in zip(
        model.named_parameters(), resident.model.parameters(), strict=True
    ):
        assert torch.equal(loaded.float(), live.float()), name
    text = " ".join(WORDS)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.encode(text) == resident.tokenizer.encode(text)


def test_a_large_export_is_sharded_and_loads_bit_for_bit(
    resident: ResidentModel, tmp_path: Path
) -> None:
    whole = write(resident, tmp_path / "whole")
    sharded = write(resident, tmp_path / "sharded", max_shard_bytes=3000)
    assert not (sharded.folder / "model.safetensors").exists()
    index = json.loads((sharded.folder / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    assert whole.weights_digest == sharded.weights_digest
    one, many = (AutoModelForCausalLM.from_pretrained(r.folder) for r in (whole, sharded))
    pairs = zip(one.named_parameters(), many.named_parameters(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_a_tied_output_layer_is_not_written_twice(tmp_path: Path) -> None:
    resident = open_resident(make_family(tmp_path, "llama-tied"))
    write(resident, tmp_path / "out")
    assert "lm_head.weight" not in load_weights(tmp_path / "out")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_integer_buffers_are_exported_as_they_are(tmp_path: Path) -> None:
    resident = open_resident(make_family(tmp_path, config=counted_config()))
    write(resident, tmp_path / "out")
    assert torch.equal(load_weights(tmp_path / "out")["steps"], torch.tensor([7, 2**40]))


def test_the_config_is_the_bases_with_the_candidates_dtype(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    edit_json(family["base"] / "config.json", note="kept", torch_dtype="bfloat16")
    resident = open_resident(family, dtype=torch.float16)
    write(resident, tmp_path / "out")
    before, after = (
        json.loads((f / "config.json").read_text()) for f in (family["base"], tmp_path / "out")
    )
    assert after == before | {"dtype": "float16", "torch_dtype": "float16"}


def test_the_folder_holds_what_a_reader_needs(resident: ResidentModel, tmp_path: Path) -> None:
    result = write(resident, tmp_path / "out", extra={"exme_scores.json": "{}"})
    base = resident.sources.base.folder
    assert {p.name for p in result.folder.iterdir()} == {
        "README.md",
        "config.json",
        "exme_recipe.json",
        "exme_scores.json",
        "generation_config.json",
        "mergekit_config.yml",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (result.folder / name).read_bytes() == (base / name).read_bytes()
    assert (result.folder / "README.md").read_text() == "# A card\n"
    assert str(result).startswith(f"Exported candidate {result.digest} to {tmp_path}/out (0.0 MB")


def test_the_recipe_makes_the_same_weights_again(resident: ResidentModel, tmp_path: Path) -> None:
    result = write(resident, tmp_path / "out")
    recipe = json.loads((result.folder / "exme_recipe.json").read_text())
    again = Candidate.from_json(recipe["candidate"])
    assert recipe["digest"] == again.digest == result.digest
    resident.materialise(again)
    assert weights_digest(resident.state_dict()) == recipe["weights_digest"]
    fingerprints = resident.sources.fingerprints
    assert recipe["sources"] == {
        name: {"model": NAMES[name], "sha256": fingerprints[name]} for name in NAMES
    }


def test_the_mergekit_recipe_is_golden(resident: ResidentModel, tmp_path: Path) -> None:
    write(resident, tmp_path / "out")
    assert (tmp_path / "out" / "mergekit_config.yml").read_text() == textwrap.dedent(
        """\
        # mini/<name> ships with exme, in exme/tasks/mini/models/<name>: give that folder.
        merge_method: task_arithmetic
        base_model: mini/base
        models:
        - model: someone/math@v1
          parameters:
            weight: 1.3
        - model: folders/code
          parameters:
            weight: 0.5
        parameters:
          normalize: false
          lambda: 1.0
        dtype: float32
        out_dtype: bfloat16
        tokenizer_source: base
        """
    )


# The chat template --------------------------------------------------------------------------------


def test_a_bases_own_chat_template_is_kept(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    for name, text in (("base", "base's"), ("math", TEMPLATE)):
        (family[name] / "chat_template.jinja").write_text(text)
    resident = open_resident(family)
    write(resident, tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == "base's"
    assert "and so is the chat template" in chat_template(resident.sources)[1]


@pytest.mark.parametrize("inside", [False, True])
def test_a_base_without_chat_template_takes_that_of_the_first_checkpoint_with_one(
    tmp_path: Path, inside: bool
) -> None:
    family = make_family(tmp_path)
    if inside:  # as older tokenizers keep it
        several = [{"name": "tool", "template": "x"}, {"name": "default", "template": TEMPLATE}]
        edit_json(family["code"] / "tokenizer_config.json", chat_template=several)
    else:
        (family["code"] / "chat_template.jinja").write_text(TEMPLATE)
    resident = open_resident(family)
    write(resident, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    message = [{"role": "user", "content": "w1"}]
    assert tokenizer.apply_chat_template(message, tokenize=False) == "w1</s>"
    assert "chat template is that of 'code'" in chat_template(resident.sources)[1]


def test_no_chat_template_anywhere_is_said(resident: ResidentModel) -> None:
    template, sentence = chat_template(resident.sources)
    assert template is None
    assert sentence.endswith("no input has a chat template.")


# What is never written over -----------------------------------------------------------------------


def test_an_export_is_not_replaced_without_force(resident: ResidentModel, tmp_path: Path) -> None:
    write(resident, tmp_path / "out", card="first")
    before = content(tmp_path / "out")
    with pytest.raises(UserError, match="holds an export already; --force replaces it"):
        write(resident, tmp_path / "out", card="second")
    assert content(tmp_path / "out") == before


def test_force_replaces_an_earlier_export_whole(resident: ResidentModel, tmp_path: Path) -> None:
    write(resident, tmp_path / "out", card="first", max_shard_bytes=3000)
    write(resident, tmp_path / "out", card="second", force=True)
    assert (tmp_path / "out" / "README.md").read_text() == "second"
    assert not list((tmp_path / "out").glob("model-*"))
    assert hidden(tmp_path) == []


def test_an_empty_folder_is_filled(resident: ResidentModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(resident, tmp_path / "out")
    assert (tmp_path / "out" / "config.json").is_file()
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_with_anything_else_is_refused_even_with_force(
    resident: ResidentModel, tmp_path: Path, force: bool
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="something other than an export of ExMe"):
        write(resident, tmp_path, force=force)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_file_in_the_way_is_refused(resident: ResidentModel, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file"):
        write(resident, tmp_path / "out", force=True)


def test_a_source_is_never_replaced_although_it_is_an_export(tmp_path: Path) -> None:
    first = open_resident(make_family(tmp_path))
    write(first, tmp_path / "first")
    family = {"base": tmp_path / "first", "math": tmp_path / "math", "code": tmp_path / "code"}
    with pytest.raises(UserError, match="holds 'base', from which the export is made"):
        write(open_resident(family), tmp_path / "first", force=True)


def test_a_full_disk_is_noticed_before_anything_is_written(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  (as shutil's)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, 1000))
    with pytest.raises(UserError, match=r"the export takes 0\.03 GB, its disk has 0\.00 GB free"):
        write(resident, tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


def test_sources_that_changed_since_the_search_are_named(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    made = candidate(open_resident(family))
    edit_weights(family["code"], model__norm__weight=torch.ones(16, dtype=torch.bfloat16))
    with pytest.raises(UserError, match="'code' is not what the candidate was made of"):
        export_model(open_resident(family), made, tmp_path / "out", card="", names=NAMES)
    assert not (tmp_path / "out").exists()


# Interruptions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
@pytest.mark.parametrize(
    "step", ["write_weights", "copy_from_base", "write_text", "verify", "sync", "_replace"]
)
def test_an_interruption_leaves_nothing(
    resident: ResidentModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    for module in (export, staging):
        if hasattr(module, step):
            monkeypatch.setattr(module, step, fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write(resident, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["write_weights", "verify", "_replace"])
def test_an_interrupted_replacement_leaves_the_old_export(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write(resident, tmp_path / "out", card="old")
    before = content(tmp_path / "out")

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    for module in (export, staging):
        if hasattr(module, step):
            monkeypatch.setattr(module, step, fail)
    with pytest.raises(KeyboardInterrupt):
        write(resident, tmp_path / "out", card="new", force=True)
    assert content(tmp_path / "out") == before
    assert hidden(tmp_path) == []


def test_the_old_export_comes_back_when_the_new_one_cannot_take_its_place(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(resident, tmp_path / "out", card="old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="could not be written"):
        write(resident, tmp_path / "out", card="new", force=True)
    assert (tmp_path / "out" / "README.md").read_text() == "old"
    assert hidden(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from exme.search import export
from exme.search.candidate import Candidate
from exme.search.checkpoint import Checkpoint
from exme.search.resident import ResidentModel, Sources
import torch

root, step = Path(sys.argv[1]), sys.argv[2]
opened = {n: Checkpoint(n, root / n) for n in ("base", "math", "code")}
sources = Sources(opened.pop("base"), opened)
resident = ResidentModel(sources, dtype=torch.bfloat16, compute_dtype=torch.float32,
                         device=torch.device("cpu"))
if step == "rename":
    rename = Path.rename
    def killed(self, target):
        if ".partial-" in self.name:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)
    Path.rename = killed
else:
    setattr(export, step, lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))
export.export_model(
    resident, Candidate({"math": 1.3, "code": 0.5}, "exme", "bfloat16", sources.fingerprints),
    root / "out", force=True, card="new", names={"base": "b", "math": "m", "code": "c"},
)
"""


@pytest.mark.parametrize("step", ["verify", "rename"])
def test_a_killed_export_leaves_the_old_one_and_the_next_cleans_up(
    tmp_path: Path, step: str
) -> None:
    resident = open_resident(make_family(tmp_path))
    write(resident, tmp_path / "out", card="old")
    before = content(tmp_path / "out")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, step], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert any(".out.partial-" in name for name in hidden(tmp_path))
    if step == "rename":  # killed between putting the old one aside and renaming the new one
        assert not (tmp_path / "out").exists()
    else:
        assert content(tmp_path / "out") == before
    with pytest.raises(UserError, match="--force"):
        write(resident, tmp_path / "out", card="newer")
    assert content(tmp_path / "out") == before
    assert hidden(tmp_path) == []
    write(resident, tmp_path / "out", card="newest", force=True)
    assert (tmp_path / "out" / "README.md").read_text() == "newest"
    assert hidden(tmp_path) == []


def test_an_export_that_is_being_written_is_not_taken_for_a_leftover(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*args: Any) -> None:
        staging.clear_leftovers(tmp_path / "out")
        verify(*args)

    monkeypatch.setattr(export, "verify", meanwhile)
    write(resident, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_folder_that_appears_while_an_export_is_written_is_kept(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*args: Any) -> None:
        verify(*args)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("years of work")

    monkeypatch.setattr(export, "verify", meanwhile)
    with pytest.raises(UserError, match="something other than an export"):
        write(resident, tmp_path / "out")
    assert content(tmp_path / "out") == {"thesis.tex": b"years of work"}
    assert hidden(tmp_path) == []


def test_a_disk_that_gives_back_other_bytes_is_noticed(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flip(folder: Path, tensors: Any, size: int) -> list[Path]:
        files = write_weights(folder, tensors, size)
        raw = bytearray(files[0].read_bytes())
        raw[-1] ^= 1
        files[0].write_bytes(raw)
        return files

    monkeypatch.setattr(export, "write_weights", flip)
    with pytest.raises(UserError, match="read back, the weights are not those written"):
        write(resident, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_loads_other_weights_is_noticed(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = export.config_file(resident.sources, "bfloat16").replace(
        '"dtype": "bfloat16"', '"dtype": "float16"'
    )
    monkeypatch.setattr(export, "config_file", lambda *given: config)
    with pytest.raises(UserError, match="from_pretrained gives another model"):
        write(resident, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# The winner of a search ---------------------------------------------------------------------------


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[Search]:
    """A search on a landscape whose top is at (1.3, 0.5), among tiny models that it never runs."""
    family = make_family(tmp_path)
    (family["base"] / "README.md").write_text("---\nlicense: mit\n---\n")
    study = StudyFile.model_validate(
        {
            "base": str(family.pop("base")),
            "checkpoints": {name: str(folder) for name, folder in family.items()},
            "data": "mini",
            "documents": {"search": 64, "report": 64},
            "budget": {"trials": 6},
            "sampler": {"name": "random"},
        }
    )
    screen = Screen(Console(file=io.StringIO()))
    with open_search(study, "gsm8k", name="mine", runs=tmp_path / "runs", screen=screen) as search:
        search._worker = Landscape(search.documents, POINT)
        yield search


def test_the_winner_of_a_search_is_exported_with_its_papers(
    searched: Search, tmp_path: Path
) -> None:
    outcome = searched.run()
    result = export_best(searched, tmp_path / "out")
    assert outcome.winner is not None
    assert outcome.winner.candidate is not None
    assert result.digest == outcome.winner.candidate.digest
    text = (result.folder / "README.md").read_text()
    assert verdict(outcome).sentence in text
    assert "base: mit; math: not stated; code: not stated" in text
    assert json.loads((result.folder / "exme_scores.json").read_text()).keys() >= {"base", "merged"}
    AutoModelForCausalLM.from_pretrained(result.folder)


def test_a_search_without_a_scored_trial_has_nothing_to_export(
    searched: Search, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no trial has been scored yet; run `exme search` first"):
        export_best(searched, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_taken_folder_is_refused_before_a_model_is_loaded(
    searched: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ResidentModel", lambda *a, **k: pytest.fail("loaded"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="something other than an export"):
        export_best(searched, tmp_path / "out", force=True)


# The model card -----------------------------------------------------------------------------------


def scores(split: str, right: int, count: int = 10) -> DocumentScores:
    values = tuple(float(i < right) for i in range(count))
    documents = tuple(f"{split}/{i}" for i in range(count))
    return DocumentScores("gsm8k", split, "exact_match,strict-match", documents, values, 0)


@pytest.fixture
def outcome() -> Outcome:
    def entry(name: str, c: dict[str, float], right: int) -> Entry:
        made = Candidate(c, "exme", "bfloat16", {"base": "b"})
        return Entry(name, made, scores("report", right), scores("search", right - 1))

    merged = entry("merged", POINT, 8)
    trial = TrialRecord(5, "complete", "gp", merged.candidate, merged.search)
    return Outcome(
        study="mine",
        task="gsm8k",
        bounds={},
        trials=(trial,),
        winner=trial,
        inputs=(
            entry("base", {"math": 0.0, "code": 0.0}, 3),
            entry("math", {"math": 1.0, "code": 0.0}, 5),
        ),
        merged=merged,
        facts={"seed": "0", "a|b": "c`d\ne"},
    )


def card(outcome: Outcome, licences: dict[str, dict[str, str]] | None = None) -> str:
    return model_card(
        outcome,
        names=NAMES,
        verdict="Proved: better.",
        licences=licences or {},
        taken="All from the base.",
        version="0.1.0",
    )


def front_matter(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return found


def test_the_card_says_what_it_is_and_what_it_scored(outcome: Outcome) -> None:
    text = card(outcome)
    for line in (
        "Proved: better.",
        "    weights = base + 1.3 (math - base) + 0.5 (code - base)",
        "| math | `someone/math@v1` | 1.3 | 0.7222 |",
        "alpha +0.8000",
        "| merged | 70.0% [39.7%, 89.2%], n = 10 | 80.0% [49.0%, 94.3%], n = 10 |",
        "gsm8k exact_match,strict-match",
        r"| a\|b | `c'd e` |",
    ):
        assert line in text


def test_the_front_matter_lists_hub_models_only(outcome: Outcome) -> None:
    front = front_matter(card(outcome))
    assert front["base_model"] == ["someone/math", "folders/code"]
    assert front["tags"] == ["merge", "exme"]
    assert front["library_name"] == "transformers"
    assert "license" not in front


def test_a_licence_is_stated_where_all_inputs_agree(outcome: Outcome) -> None:
    same = {name: {"license": "mit"} for name in NAMES}
    assert front_matter(card(outcome, same))["license"] == "mit"
    assert "Every input states the same licence: mit." in card(outcome, same)


def test_licences_that_differ_are_listed_and_not_claimed(outcome: Outcome) -> None:
    text = card(outcome, {"base": {"license": "mit"}, "math": {"license": "llama3"}})
    assert "license" not in front_matter(text)
    assert "base: mit; math: llama3; code: not stated" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\n# x", {"license": "mit"}),
        ("---\nlicense: [a, b]\n---\n", {}),
        ("---\n{{\n---\n", {}),
        ("# no front matter --- at all ---", {}),
        ("---\nopen", {}),
        ("", {}),
    ],
)
def test_a_licence_is_read_from_a_readme(
    tmp_path: Path, text: str, expected: dict[str, str]
) -> None:
    (tmp_path / "README.md").write_text(text)
    assert read_licence(tmp_path) == expected


def test_a_search_that_is_not_proved_yet_says_so(outcome: Outcome) -> None:
    text = card(replace(outcome, inputs=(), merged=None))
    assert "On the report documents: not proved yet." in text
    assert "| merged | 70.0%" in text


def test_the_scores_file_gives_back_every_score(outcome: Outcome) -> None:
    found = json.loads(scores_file(outcome))
    assert list(found) == ["base", "math", "merged"]
    assert outcome.merged is not None
    assert DocumentScores.from_json(found["merged"]["report"]) == outcome.merged.report
