"""Exports load with `from_pretrained`, bit for bit; nothing that is there is written over."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import textwrap
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.model_folder import chat_template, export_model
from exme.search.merging.folders.recipe import materialise
from exme.search.merging.resident import ResidentModel, weights_digest
from exme.search.proof.verdict import verdict
from exme.search.reports.exports import export
from exme.search.reports.exports.export import export_best
from exme.search.running.search import Search
from exme.search.study.study_file import load_study_file
from exme.tasks.errors import UserError
from tests.helpers.models.exports import (
    NAMES,
    candidate,
    content,
    hidden,
    resident,
    searched,
    write,
)
from tests.helpers.models.small_models import (
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

__all__ = ["resident", "searched"]  # fixtures

PAPERS = (".md", ".json", ".yml", ".yaml")


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
        export_model(open_resident(family).sources, made, tmp_path / "out", card="", names=NAMES)
    assert not (tmp_path / "out").exists()


# The winner of a search ---------------------------------------------------------------------------


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


def test_the_papers_name_no_folder_machine_or_user_and_repeat_the_search(
    searched: Search, tmp_path: Path
) -> None:
    outcome = searched.run()
    result = export_best(searched, tmp_path / "out")
    texts = {p.name: p.read_text() for p in result.folder.iterdir() if p.suffix in PAPERS}
    assert len(texts) > 7
    private = {str(tmp_path), str(Path.home()), socket.gethostname(), " ".join(sys.argv[1:])}
    for name, text in texts.items():
        assert not [word for word in private if word and word in text], name
    assert "`exme search exme_study.yaml --task gsm8k`" in texts["README.md"]
    study = load_study_file(result.folder / "exme_study.yaml")
    models = {"base": "./base", "checkpoints": {name: f"./{name}" for name in ("math", "code")}}
    assert study == searched.study.model_copy(update=models)
    # ... and the recipe's models are found where its reader keeps them
    assert outcome.winner is not None
    models_at = Path(searched.study.base).parent
    again = materialise(result.folder, tmp_path / "again", within=[models_at])
    assert again.weights_digest == result.weights_digest


def test_a_search_without_a_scored_trial_has_nothing_to_export(
    searched: Search, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no trial has been scored yet; run `exme search` first"):
        export_best(searched, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_taken_folder_is_refused_before_a_weight_is_written(
    searched: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "export_model", lambda *a, **k: pytest.fail("written"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="something other than an export"):
        export_best(searched, tmp_path / "out", force=True)
