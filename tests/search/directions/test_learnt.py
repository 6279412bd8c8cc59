"""What is learnt by gradient: gradients against finite differences, losses that fall."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from exme.search.directions import losses
from exme.search.directions.adamerging import LayerWise, TaskWise, WarmStart
from exme.search.directions.bench import Loss
from exme.search.directions.coefficients import gradient
from exme.search.directions.np_merge import NPMerge, Pair
from exme.search.directions.prodistill import LayerTask, ProDistill, decoder_layers
from exme.search.merging.groups import Groups
from exme.tasks.errors import UserError
from tests.helpers.models.directions import (
    EXAMPLES,
    FLOAT32,
    bench,
    compute,
    deltas,
    dense,
    family,
    weights,
)
from tests.helpers.models.small_models import make_family, open_sources


def test_entropy_and_likelihood_are_those_of_every_example_by_itself(tmp_path: Path) -> None:
    sources = family(tmp_path)
    on, model = bench(sources, tmp_path / "s", rows=3), dense(sources, "base")
    entropies, nlls = [], []
    for example in EXAMPLES:
        with torch.no_grad():
            logs = model(torch.tensor([example.ids])).logits[0].log_softmax(-1)
        last = logs[len(example.prompt) - 1]
        entropies.append(-float((last.exp() * last).sum()))
        start = len(example.prompt) - 1
        answer = [logs[start + i, token] for i, token in enumerate(example.answer)]
        nlls.append(-float(sum(answer)) / example.size)
    assert on.total(losses.entropy) == pytest.approx(sum(entropies) / 4, rel=1e-10)
    assert on.total(losses.answer_nll) == pytest.approx(sum(nlls) / 4, rel=1e-10)
    assert on.passes == 8


@pytest.mark.parametrize("loss", [losses.entropy, losses.answer_nll])
@pytest.mark.parametrize("kind", ["llama", "qwen2-tied", "gpt-neox"])
@pytest.mark.parametrize("is_grouped", [False, True])
def test_the_gradient_in_the_coefficients_is_that_of_finite_differences(
    tmp_path: Path, loss: Loss, kind: str, is_grouped: bool
) -> None:
    on = bench(family(tmp_path, kind), tmp_path / "s")
    groups = Groups({"blocks": 2}, on.tensors) if is_grouped else None
    at = torch.tensor([[0.7, 0.2], [-0.1, 1.3]], dtype=torch.float64)[: 1 + is_grouped]
    _, slope = gradient(on, loss, groups, at)
    step = 1e-5
    for row, column in itertools.product(range(len(at)), range(2)):
        values = []
        for sign in (1, -1):
            moved = at.clone()
            moved[row, column] += sign * step
            values.append(gradient(on, loss, groups, moved)[0])
        expected = (values[0] - values[1]) / (2 * step)
        assert float(slope[row, column]) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_starting_coefficients_are_the_best_seen_and_within_bounds(tmp_path: Path) -> None:
    sources = family(tmp_path)
    _, found = compute(TaskWise(), bench(sources, tmp_path / "1"))
    assert all(0 <= c <= 1 for c in found.coefficients.values())
    assert min(found.losses) < found.losses[0]
    on = bench(sources, tmp_path / "2", bounds=(0.4, 0.6))
    _, found = compute(WarmStart(), on)
    assert all(0.4 <= c <= 0.6 for c in found.coefficients.values())
    on.mix(lambda _, name: found.coefficients[name])
    assert on.total(losses.answer_nll) == pytest.approx(min(found.losses), rel=1e-12)


def test_starting_coefficients_are_those_of_the_studys_groups(tmp_path: Path) -> None:
    on = bench(family(tmp_path), tmp_path / "s")
    on.groups = Groups({"kinds": ["attention", "mlp"]}, on.tensors)
    _, found = compute(WarmStart(), on)
    assert set(found.grouped) == {"attention", "mlp", "rest"}
    mean = sum(c["math"] for c in found.grouped.values()) / 3
    assert found.coefficients["math"] == pytest.approx(mean)


def test_layer_wise_adamerging_is_the_sum_with_the_coefficients_of_its_layers(
    tmp_path: Path,
) -> None:
    sources = family(tmp_path)
    on, method = bench(sources, tmp_path / "s"), LayerWise()
    written, _ = compute(method, on)
    layers = Groups({"blocks": 2}, on.tensors)
    learnt = TaskWise().learn(bench(sources, tmp_path / "t"), layers)
    t = deltas(sources)
    for name, vector in written.items():
        mine = learnt.coefficients[layers.of(name)]
        torch.testing.assert_close(vector, sum(mine[who] * t[who][name] for who in t))


def test_layer_wise_adamerging_refuses_a_model_of_one_layer(tmp_path: Path) -> None:
    on = bench(family(tmp_path), tmp_path / "s")
    on.model.config.num_hidden_layers = 1
    with pytest.raises(UserError, match="has one layer; use `adamerging`"):
        LayerWise().check(on)


def test_the_gradient_of_np_merge_is_that_of_finite_differences(tmp_path: Path) -> None:
    sources = family(tmp_path)
    on = bench(sources, tmp_path / "s")
    pair = Pair(on, "math", "code")
    generator = torch.Generator().manual_seed(1)
    for p in pair.p.values():
        p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    pair.gradient()
    slopes = {name: values.clone() for name, values in pair.slope.items()}
    for name in (
        "model.embed_tokens.weight",
        "model.layers.1.mlp.up_proj.weight",
        "model.norm.weight",
    ):
        place = int(slopes[name].abs().argmax())
        flat = pair.p[name].view(-1)
        values = []
        for sign in (1, -1):
            flat[place] += sign * 1e-4
            values.append(pair.gradient())
            flat[place] -= sign * 1e-4
        expected = (values[0] - values[1]) / 2e-4
        assert float(slopes[name].view(-1)[place]) == pytest.approx(expected, rel=1e-4)


def test_np_merge_stays_between_its_two_checkpoints_and_lowers_its_loss(tmp_path: Path) -> None:
    sources = family(tmp_path)
    written, found = compute(NPMerge(), bench(sources, tmp_path / "s"))
    assert found.losses[-1] < found.losses[0]
    one, two = weights(sources, "math"), weights(sources, "code")
    base = weights(sources, "base")
    for name, delta in written.items():
        merged = base[name] + delta
        low, high = torch.minimum(one[name], two[name]), torch.maximum(one[name], two[name])
        assert bool(((merged >= low - 1e-9) & (merged <= high + 1e-9)).all())


def layer_task(tmp_path: Path, number: int = 1) -> tuple[LayerTask, ProDistill]:
    """The task of a layer, all layers below which are averaged."""
    sources, method = family(tmp_path), ProDistill()
    on = bench(sources, tmp_path / "task")
    layers = decoder_layers(on)
    assert layers is not None
    named = {id(live): name for name, live in on.live.items()}
    outside = [n for n in on.tensors if ".layers." not in n]
    streams = method._embed(on, layers, outside, 0.5)
    for i in range(number + 1):
        own = {n: named[id(p)] for n, p in layers[i].named_parameters()}
        task = LayerTask.of(on, layers[i], i, own, streams)
        if i < number:
            mean = task.merged({n: torch.full_like(d, 0.5) for n, d in task.deltas.items()})
            task.advance(mean, task.targets())
    return task, method


def test_the_gradient_of_a_distilled_layer_is_that_of_finite_differences(tmp_path: Path) -> None:
    task, _ = layer_task(tmp_path)
    a = {name: torch.full_like(d, 0.5) for name, d in task.deltas.items()}
    targets = task.targets()
    _, slopes = task.gradient(a, targets)
    for name in ("mlp.down_proj.weight", "self_attn.q_proj.weight", "input_layernorm.weight"):
        flat, place = a[name].view(-1), int(slopes[name].abs().argmax())
        values = []
        for sign in (1, -1):
            flat[place] += sign * 1e-4
            values.append(task.gradient(a, targets)[0])
            flat[place] -= sign * 1e-4
        expected = (values[0] - values[1]) / 2e-4
        assert float(slopes[name].view(-1)[place]) == pytest.approx(expected, rel=1e-4)


def test_activations_of_the_layers_are_the_models_own(tmp_path: Path) -> None:
    """The stream of a checkpoint through its layers is what transformers computes for it."""
    task, _ = layer_task(tmp_path)
    sources = open_sources(
        {
            "base": tmp_path / "llama/base",
            "math": tmp_path / "llama/math",
            "code": tmp_path / "llama/code",
        }
    )
    model = dense(sources, "code")
    for stream, target in zip(task.streams, task.targets(), strict=True):
        for row, example in enumerate(stream.batch.examples):
            with torch.no_grad():
                out = model.model(torch.tensor([example.ids]), output_hidden_states=True)
                expected = out.last_hidden_state[0]
                got = model.model.norm(target["code"][row, : len(example.ids)])
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


def test_the_loss_of_every_distilled_layer_falls_and_never_rises(tmp_path: Path) -> None:
    written, found = compute(ProDistill(), bench(family(tmp_path), tmp_path / "s"))
    assert written
    size = ProDistill.steps + 1
    histories = [found.losses[i : i + size] for i in range(0, len(found.losses), size)]
    assert len(histories) == 2
    for history in histories:
        assert history[0] == 1.0
        assert all(after <= before for before, after in itertools.pairwise(history))
        assert history[-1] < history[0]


def test_two_teachers_that_are_one_are_met_at_the_start(tmp_path: Path) -> None:
    made = make_family(tmp_path / "m", dtypes=FLOAT32)
    sources = open_sources({"base": made["base"], "one": made["math"], "two": made["math"]})
    written, found = compute(ProDistill(), bench(sources, tmp_path / "s"))
    t = deltas(sources)["one"]
    assert max(float((written[n] - t[n]).abs().max()) for n in written) < 1e-5
    assert all(loss <= 1 for loss in found.losses)


def test_prodistill_refuses_a_model_whose_layers_it_does_not_find(tmp_path: Path) -> None:
    on = bench(family(tmp_path), tmp_path / "s")
    on.model.config.num_hidden_layers = 5
    with pytest.raises(UserError, match=r"has no list of 5 layers"):
        ProDistill().check(on)
