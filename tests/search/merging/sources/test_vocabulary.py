"""Vocabularies that differ, merged by token string where a study asks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.mergekit import obstacle
from exme.search.merging.folders.model_folder import export_model
from exme.search.merging.folders.recipe import materialise
from exme.search.merging.resident import ResidentModel
from exme.search.merging.sources.adapter import Adapter
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources
from exme.tasks.errors import UserError
from tests.helpers.models.small_models import (
    KINDS,
    VOCABULARY,
    edit_json,
    load_weights,
    make_family,
    make_model,
    tokenizer,
)

EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")
MOVED = [*VOCABULARY[:4], *reversed(VOCABULARY[5:]), "extra"]  # without w0, with one of its own


def retoken(folder: Path, words: list[str], added: tuple[str, ...] = (), seed: int = 9) -> Path:
    """Give a model another tokenizer; rows follow their tokens, those of new tokens are random."""
    made = tokenizer(words)
    made.add_tokens(list(added), special_tokens=True)
    made.save_pretrained(folder)
    weights = load_weights(folder)
    order = [*words, *added]
    generator = torch.Generator().manual_seed(seed)
    for name in EMBEDDINGS:
        if name in weights:
            old = weights[name]
            fresh = torch.randn(len(order), old.shape[1], generator=generator).to(old.dtype)
            for row, token in enumerate(order):
                if token in VOCABULARY:
                    fresh[row] = old[VOCABULARY.index(token)]
            weights[name] = fresh
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", vocab_size=len(order))
    return folder


@pytest.fixture
def family(tmp_path: Path) -> dict[str, Path]:
    """``math`` has <think>, ``code`` has <think> and <tool> and other ids."""
    made = make_family(tmp_path / "models", dtypes=(torch.float32,) * 3)
    retoken(made["math"], VOCABULARY, ("<think>",), seed=1)
    retoken(made["code"], MOVED[:-1], ("<think>", "<tool>"), seed=2)
    return made


def opened(family: dict[str, Path], *, union: bool = True) -> Sources:
    found = {name: Checkpoint(name, folder) for name, folder in family.items()}
    return Sources(found.pop("base"), found, union=union)


def resident(sources: Sources, place: str = "auto") -> ResidentModel:
    return ResidentModel(
        sources,
        dtype=torch.float32,
        compute_dtype=torch.float32,
        device=torch.device("cpu"),
        residence=place,
    )


def candidate(sources: Sources, math: float, code: float, method: str = "exme", **own: float):
    c = {"math": math, "code": code}
    return Candidate(c, method, "float32", sources.fingerprints, parameters=own)


def rows(folder: Path, name: str, words: list[str]) -> dict[str, torch.Tensor]:
    return dict(zip(words, load_weights(folder)[name], strict=True))


CODE = [*MOVED[:-1], "<think>", "<tool>"]
MATH = [*VOCABULARY, "<think>"]


def test_without_a_word_other_vocabularies_are_refused_and_the_word_is_named(
    family: dict[str, Path],
) -> None:
    with pytest.raises(UserError, match="only with `vocabulary: union`"):
        opened({**family, "math": make_moved(family)}, union=False)


def make_moved(family: dict[str, Path]) -> Path:
    """As many tokens as the base, in another order."""
    return retoken(family["math"], list(reversed(VOCABULARY)))


@pytest.mark.parametrize("place", ["device", "mapped"])
def test_a_checkpoint_alone_is_itself_with_rows_by_token_and_the_bases_where_it_has_none(
    family: dict[str, Path], place: str
) -> None:
    sources = opened(family)
    model = resident(sources, place)
    union = sources.union
    assert union is not None
    assert list(union.ids)[-2:] == ["<think>", "<tool>"] and union.rows == 50
    model.materialise(candidate(sources, 0.0, 1.0))
    found = model.state_dict()
    for name in EMBEDDINGS:
        own, base = rows(family["code"], name, CODE), rows(family["base"], name, VOCABULARY)
        for token, row in union.ids.items():
            assert torch.equal(found[name][row], own.get(token, base.get(token, torch.empty(0))))
    assert torch.equal(
        found["model.norm.weight"], load_weights(family["code"])["model.norm.weight"]
    )


@pytest.mark.parametrize("method", ["exme", "ties"])
def test_every_row_is_merged_with_the_rows_of_the_same_token(
    family: dict[str, Path], method: str
) -> None:
    sources = opened(family)
    model = resident(sources)
    assert sources.union is not None
    own = {"density": 1.0} if method == "ties" else {}
    model.materialise(candidate(sources, 0.5, 0.25, method, **own))
    for name in EMBEDDINGS:
        math, code = rows(family["math"], name, MATH), rows(family["code"], name, CODE)
        base = rows(family["base"], name, VOCABULARY)
        base["<think>"] = (math["<think>"] + code["<think>"]) / 2  # both have it
        base["<tool>"] = code["<tool>"]  # one has it
        for token, row in sources.union.ids.items():
            deltas = [m.get(token, base[token]) - base[token] for m in (math, code)]
            wanted = base[token] + 0.5 * deltas[0] + 0.25 * deltas[1]
            if method == "ties":
                parts = torch.stack([0.5 * deltas[0], 0.25 * deltas[1]])
                agree = (parts * torch.where(parts.sum(0) < 0, -1.0, 1.0)) > 0
                weight = (agree * torch.tensor([[0.5], [0.25]])).sum(0)
                wanted = base[token] + (parts * agree).sum(0) / weight.clamp(min=0.25) * 0.75
            torch.testing.assert_close(model.state_dict()[name][row], wanted, atol=1e-6, rtol=0)


def test_what_was_copied_from_where_is_said(family: dict[str, Path]) -> None:
    union = opened(family).union
    assert union is not None
    assert union.report == [
        (
            "Vocabularies are merged by token string: the base's 48 tokens keep their ids, 2 are added: "
            "'<think>' (id 48, the base's row: mean of code, math), "
            "'<tool>' (id 49, the base's row: code)."
        ),
        "code: 1 tokens are not in it and have the base's rows: 'w0'; 45 have other ids there.",
        "math: 1 tokens are not in it and have the base's rows: '<tool>'; 0 have other ids there.",
    ]


def test_the_export_has_the_unions_tokenizer_and_the_table_and_its_recipe_makes_it_again(
    family: dict[str, Path], tmp_path: Path
) -> None:
    sources = opened(family)
    model = resident(sources)
    made = candidate(sources, 0.7, 0.6)
    model.materialise(made)
    names = {name: str(folder) for name, folder in family.items()}
    result = export_model(model.sources, made, tmp_path / "out", card="A merge.\n", names=names)
    words = AutoTokenizer.from_pretrained(result.folder)
    assert words.convert_tokens_to_ids(["w3", "<think>", "<tool>"]) == [7, 48, 49]
    assert words("w3 <think> w4")["input_ids"] == [7, 48, 8]
    loaded = AutoModelForCausalLM.from_pretrained(result.folder)
    assert loaded.config.vocab_size == 50
    table = json.loads((result.folder / "exme_vocabulary.json").read_text())["tokens"]
    assert table["<tool>"] == {"id": 49, "base": "code", "math": "base", "code": "row 48"}
    assert "mergekit cannot make this merge" in (result.folder / "mergekit_config.yml").read_text()
    assert obstacle(made)
    again = materialise(result.folder, tmp_path / "again")
    assert again.weights_digest == result.weights_digest


def test_the_model_answers_with_the_unions_tokenizer(family: dict[str, Path]) -> None:
    sources = opened(family)
    model = resident(sources)
    model.materialise(candidate(sources, 1.0, 0.0))
    prompt = model.tokenizer("w1 <think> w2", return_tensors="pt").input_ids
    own = AutoModelForCausalLM.from_pretrained(family["math"], dtype=torch.float32)
    with torch.no_grad():
        wanted, found = own(prompt).logits, model.model(prompt).logits
    torch.testing.assert_close(found[..., :49], wanted, atol=1e-5, rtol=1e-5)


def test_words_that_only_a_checkpoint_has_follow_where_the_bases_tokenizer_is_a_table(
    tmp_path: Path,
) -> None:
    made = make_family(tmp_path / "models", dtypes=(torch.float32,) * 3)
    retoken(made["math"], MOVED)
    sources = opened(made)
    assert sources.union is not None and sources.union.ids["extra"] == 48
    assert resident(sources).tokenizer("w1 extra")["input_ids"] == [5, 48]


def test_words_that_the_bases_tokenizer_cannot_take_are_refused_by_name(tmp_path: Path) -> None:
    made = make_family(tmp_path / "models", dtypes=(torch.float32,) * 3)
    retoken(made["base"], VOCABULARY, ("<end>",))  # stands behind the table
    retoken(made["math"], MOVED)
    with pytest.raises(UserError, match="'math': its token 'extra' is part of its tokenizer's own"):
        opened(made)


def test_a_model_without_a_tokenizer_is_refused(family: dict[str, Path]) -> None:
    (family["math"] / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"'math': .*tokenizer\.json is missing"):
        opened(family)


def test_padding_rows_are_used_before_new_ones_are_added(tmp_path: Path) -> None:
    padded = KINDS["llama-tied"]()
    padded.vocab_size = 64
    base = make_model(tmp_path / "base", dtype=torch.float32, config=padded)
    math = make_model(tmp_path / "math", seed=1, dtype=torch.float32, config=padded, near=base)
    words = tokenizer()
    words.add_tokens(["<think>"], special_tokens=True)
    words.save_pretrained(math)
    sources = opened({"base": base, "math": math})
    assert sources.union is not None
    assert sources.union.rows == 64 and sources.union.ids["<think>"] == 48
    model = resident(sources)
    model.materialise(Candidate({"math": 1.0}, "exme", "float32", sources.fingerprints))
    assert torch.equal(model.state_dict()[EMBEDDINGS[0]], load_weights(math)[EMBEDDINGS[0]])
    origin, wide = load_weights(base)[EMBEDDINGS[0]], sources.base.tensor(EMBEDDINGS[0])
    assert torch.equal(wide[49:], origin[49:])
    assert torch.equal(wide[48], load_weights(math)[EMBEDDINGS[0]][48])


@pytest.mark.parametrize("padded", ["base", "math"])
def test_padding_of_one_of_them_is_no_obstacle(tmp_path: Path, padded: str) -> None:
    family = make_family(tmp_path / "models", dtypes=(torch.float32,) * 3)
    model = AutoModelForCausalLM.from_pretrained(family[padded])
    model.resize_token_embeddings(64)
    model.save_pretrained(family[padded])
    with pytest.raises(UserError, match="with `vocabulary: union` rows are told by token string"):
        opened(family, union=False)
    live = resident(opened(family))
    ids = torch.arange(4, 30)[None]
    for name in ("base", "math"):
        live.materialise(candidate(live.sources, float(name == "math"), 0.0))
        wanted = AutoModelForCausalLM.from_pretrained(family[name])(ids).logits
        words = len(VOCABULARY)
        torch.testing.assert_close(live.model(ids).logits[..., :words], wanted[..., :words])


def test_the_same_vocabulary_is_no_union(tmp_path: Path) -> None:
    assert opened(make_family(tmp_path)).union is None


def test_an_adapter_has_the_bases_rows_for_tokens_that_are_new_to_it(
    family: dict[str, Path], tmp_path: Path
) -> None:
    base = Checkpoint("base", family["base"])
    folder = tmp_path / "lora"
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    place = "base_model.model.model.embed_tokens.lora_embedding_"
    a, b = torch.randn(2, 48), torch.randn(16, 2)
    save_file({f"{place}A": a, f"{place}B": b}, folder / "adapter_model.safetensors")
    given: dict[str, Checkpoint | Adapter] = {
        "math": Checkpoint("math", family["math"]),
        "lora": Adapter("lora", folder, base),
    }
    sources = Sources(base, given, union=True)
    model = resident(sources)
    made = Candidate({"math": 0.0, "lora": 1.0}, "exme", "float32", sources.fingerprints)
    model.materialise(made)
    found, wide = model.state_dict()[EMBEDDINGS[0]], sources.base.tensor(EMBEDDINGS[0])
    torch.testing.assert_close(found[:48], wide[:48] + 2 * (b @ a).T)
    assert torch.equal(found[48:], wide[48:])
