"""Groups: every tensor is in one, labels are for people, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from exme.search.merging.arithmetic.plain import Finite
from exme.search.merging.candidate import Candidate
from exme.search.merging.groups import Groups
from exme.search.study.space import Space
from exme.tasks.errors import UserError
from tests.helpers.models.small_models import make_family, open_resident

PARTS = ("self_attn.q_proj", "mlp.up_proj", "input_layernorm")
LLAMA = [
    "model.embed_tokens.weight",
    *(f"model.layers.{i}.{part}.weight" for i in range(5) for part in PARTS),
    "model.norm.weight",
    "lm_head.weight",
]
GPT2 = ["wte.weight", "wpe.weight", "h.0.attn.c_attn.weight", "h.1.mlp.c_fc.weight", "ln_f.weight"]


def test_blocks_are_consecutive_layers_and_take_in_what_stands_before_and_after() -> None:
    groups = Groups({"blocks": 2}, LLAMA)
    assert groups.labels == ("layers 0-1", "layers 2-4")
    assert groups.of("model.embed_tokens.weight") == "layers 0-1"
    assert groups.of("model.layers.1.mlp.up_proj.weight") == "layers 0-1"
    assert groups.of("model.layers.2.mlp.up_proj.weight") == "layers 2-4"
    assert groups.of("model.norm.weight") == groups.of("lm_head.weight") == "layers 2-4"


def test_a_block_of_one_layer_is_called_that() -> None:
    assert Groups({"blocks": 5}, LLAMA).labels == tuple(f"layer {i}" for i in range(5))
    assert Groups({"blocks": 2}, GPT2).labels == ("layer 0", "layer 1")


def test_kinds_are_told_by_names_and_the_others_are_the_rest() -> None:
    groups = Groups({"kinds": ["mlp", "attention"]}, LLAMA)
    assert groups.labels == ("mlp", "attention", "rest")
    assert groups.of("model.layers.3.self_attn.q_proj.weight") == "attention"
    assert groups.of("model.layers.3.input_layernorm.weight") == "rest"
    every = Groups({"kinds": ["attention", "mlp", "embeddings", "norms"]}, LLAMA)
    assert every.labels == ("attention", "mlp", "embeddings", "norms")
    assert every.of("lm_head.weight") == "embeddings"
    assert Groups({"kinds": ["norms"]}, GPT2).of("ln_f.weight") == "norms"


def test_the_first_pattern_that_fits_wins() -> None:
    patterns = {"early": ["model.layers.[01].*"], "mlp": ["*.mlp.*"]}
    groups = Groups({"patterns": patterns}, LLAMA)
    assert groups.labels == ("early", "mlp", "rest")
    assert groups.of("model.layers.0.mlp.up_proj.weight") == "early"
    assert groups.of("model.layers.2.mlp.up_proj.weight") == "mlp"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"blocks": 6}, "6 blocks of 5 layers; give 2 to 5"),
        ({"kinds": ["attnetion"]}, "no kind 'attnetion' .*did you mean 'attention'"),
        ({"patterns": {"early": ["h.0.*"]}}, "no tensor of the base is in 'early'"),
    ],
)
def test_groups_that_do_not_fit_the_model_are_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Groups(spec, LLAMA)


# In the space -------------------------------------------------------------------------------------


def space(*methods: str, **options: Any) -> Space:
    groups = Groups({"blocks": 2}, LLAMA)
    given = {"groups": groups.labels, "spec": {"blocks": 2}, **options}
    return Space(methods or ("exme",), ["sums", "products"], **given)


def test_every_group_has_a_coefficient_per_checkpoint_and_the_size_is_said() -> None:
    assert space().coefficients == (
        "sums, layers 0-1",
        "products, layers 0-1",
        "sums, layers 2-4",
        "products, layers 2-4",
    )
    assert space("ties").size == (
        "The search has 5 parameters: 4 coefficients (2 in each of 2 groups: layers 0-1, layers "
        "2-4), density (share of every delta's elements that is kept)."
    )


def test_a_point_without_groups_is_the_same_in_all_of_them_and_the_same_candidate() -> None:
    grouped, plain = space(), Space(["exme"], ["sums", "products"])
    point = {"sums": 0.5, "products": 0.25}
    made = [
        s.candidate(s.to_parameters(point), dtype="float32", sources={}) for s in (grouped, plain)
    ]
    assert made[0].digest == made[1].digest
    assert made[0].grouped == {}
    assert made[0].coefficients == point


def test_a_grouped_proposal_comes_back_from_its_candidate() -> None:
    proposal = dict(zip(space().coefficients, (0.1, 0.2, 0.3, 0.4), strict=True))
    candidate = space().candidate(proposal, dtype="float32", sources={})
    assert candidate.grouped["layers 2-4"] == {"sums": 0.3, "products": 0.4}
    assert candidate.coefficients == {"sums": 0.2, "products": 0.3}
    assert space().of_candidate(candidate) == pytest.approx(proposal)
    again = Candidate.from_json(candidate.to_json())
    assert again == candidate and again.digest == candidate.digest


def test_other_groups_with_the_same_labels_are_another_candidate() -> None:
    one = space().candidate(
        dict(zip(space().coefficients, (0.1, 0.2, 0.3, 0.4), strict=True)), dtype="f", sources={}
    )
    other = Candidate.from_json({**one.to_json(), "groups": {"kinds": ["mlp"]}})
    assert one.digest != other.digest


def test_linear_shares_are_shared_out_in_every_group() -> None:
    linear = space("linear")
    assert linear.coefficients == ("share of sums, layers 0-1", "share of sums, layers 2-4")
    candidate = linear.candidate(
        dict(zip(linear.coefficients, (0.25, 1.0), strict=True)), dtype="float32", sources={}
    )
    assert candidate.grouped["layers 0-1"] == {"sums": 0.25, "products": 0.75}


# Own parameters and several methods ---------------------------------------------------------------


def test_a_trimming_method_that_trims_nothing_from_one_checkpoint_is_the_input_itself() -> None:
    ties = Space(["ties"], ["sums", "products"], seed=3)
    alone = {"sums": 1.0, "products": 0.0}
    made = ties.candidate(ties.to_parameters(alone), dtype="float32", sources={})
    assert made == Candidate(alone, "task_arithmetic", "float32", {})
    trimmed = ties.to_parameters(alone, {"density": 0.5})
    assert ties.candidate(trimmed, dtype="float32", sources={}).digest != made.digest


def test_only_methods_with_random_parts_have_the_studys_seed() -> None:
    for name, seed in (("ties", 0), ("dare_ties", 3)):
        one = Space([name], ["sums", "products"], seed=3)
        point = one.to_parameters({"sums": 0.5, "products": 0.5}, {"density": 0.5})
        assert one.candidate(point, dtype="float32", sources={}).seed == seed


def test_one_of_several_methods_is_chosen_with_the_parameters_that_it_has() -> None:
    both = Space(["exme", "ties"], ["sums", "products"])
    assert both.choices == {"method": ("exme", "ties")}
    proposal = both.to_parameters({"sums": 0.5, "products": 0.5}, {"density": 0.3})
    assert proposal["method"] == "exme"
    exme = both.candidate(proposal, dtype="float32", sources={})
    ties = both.candidate({**proposal, "method": "ties"}, dtype="float32", sources={})
    assert (exme.method, exme.parameters) == ("exme", {})
    assert (ties.method, ties.parameters) == ("ties", {"density": 0.3})


def test_a_method_with_proposals_of_its_own_cannot_be_one_of_several() -> None:
    with pytest.raises(UserError, match="method 'linear' cannot be one of several"):
        Space(["exme", "linear"], ["sums", "products"])


# In the model -------------------------------------------------------------------------------------


def test_each_group_of_the_model_has_its_own_coefficients(tmp_path: Path) -> None:
    resident = open_resident(make_family(tmp_path))
    prints = resident.sources.fingerprints
    units = {"layer 0": {"math": 1.0, "code": 0.0}, "layer 1": {"math": 0.0, "code": 0.0}}
    made = Candidate({}, "exme", "bfloat16", prints, groups={"blocks": 2}, grouped=units)
    resident.materialise(made)
    found = resident.state_dict()
    for name, tensor in found.items():
        early = "layers.0" in name or "embed" in name
        whose = resident.sources.checkpoints["math"] if early else resident.sources.base
        assert torch.equal(tensor, whose.tensor(name)), name  # type: ignore[arg-type]


def test_only_the_tensors_of_a_changed_group_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = open_resident(make_family(tmp_path))
    written: list[str] = []
    write = resident._merger.write

    def count(tensor: str, *rest: Any) -> Finite:
        written.append(tensor)
        return write(tensor, *rest)

    monkeypatch.setattr(resident._merger, "write", count)

    def make(late: float) -> list[str]:
        written.clear()
        values = {"layer 0": {"math": 0.5, "code": 0.1}, "layer 1": {"math": late, "code": 0.0}}
        prints = resident.sources.fingerprints
        resident.materialise(
            Candidate({}, "exme", "bfloat16", prints, groups={"blocks": 2}, grouped=values)
        )
        return list(written)

    assert len(make(0.5)) == len(resident.state_dict())
    assert make(0.5) == []
    changed = make(0.7)
    assert changed and all("layers.0" not in name and "embed" not in name for name in changed)
    resident.forget()
    assert len(make(0.7)) == len(resident.state_dict())


def test_after_a_failure_no_tensor_is_believed_to_hold_what_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = open_resident(make_family(tmp_path))
    prints = resident.sources.fingerprints
    first, second = (Candidate({"math": c}, "exme", "bfloat16", prints) for c in (0.5, 0.7))
    resident.materialise(first)
    before = resident.state_dict()
    write, count = resident._merger.write, 0

    def fail(tensor: str, part: slice, merge: Any, found: Any, out: torch.Tensor) -> Finite:
        nonlocal count
        count += 1
        if count == 5:
            out.view(-1)[0] = 7.0  # half written
            raise KeyboardInterrupt
        return write(tensor, part, merge, found, out)

    monkeypatch.setattr(resident._merger, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        resident.materialise(second)
    monkeypatch.setattr(resident._merger, "write", write)
    resident.materialise(first)
    assert all(torch.equal(t, before[name]) for name, t in resident.state_dict().items())
