"""RegMean and gradient matching against dense linear algebra in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from exme.search.directions.gradient_matching import GradientMatching
from exme.search.directions.regmean import RegMean, grams
from exme.search.merging.sources.sources import Sources
from exme.tasks.errors import UserError
from tests.helpers.models.directions import EXAMPLES, bench, compute, deltas, dense, family, weights


def inputs_of_layers(sources: Sources, who: str) -> dict[str, torch.Tensor]:
    """X of every linear layer: tokens by features; one example at a time, without padding."""
    model = dense(sources, who)
    rows: dict[str, list[torch.Tensor]] = {}

    def note(name: str) -> Any:
        def hook(_: Any, inputs: Any) -> None:
            rows.setdefault(name, []).append(inputs[0][0])

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(note(f"{name}.weight"))
    with torch.no_grad():
        for example in EXAMPLES:
            model(torch.tensor([example.ids]))
    return {name: torch.cat(found) for name, found in rows.items()}


@pytest.mark.parametrize("kind", ["llama", "llama-tied"])
@pytest.mark.parametrize("gram_bytes", [2**30, 1])
def test_regmean_is_the_regression_to_all_outputs(
    tmp_path: Path, kind: str, gram_bytes: int
) -> None:
    sources, method = family(tmp_path, kind), RegMean()
    method.ridge, method.gram_bytes = 1e-13, gram_bytes
    found, _ = compute(method, bench(sources, tmp_path / "s"))
    base = weights(sources, "base")
    x = {who: inputs_of_layers(sources, who) for who in ("math", "code")}
    checked = 0
    for name, delta in found.items():
        w = {who: weights(sources, who)[name] for who in x}
        if name in x["math"] and not (kind == "llama-tied" and "lm_head" in name):
            gram = {}
            for who in x:
                product = x[who][name].T @ x[who][name]
                gram[who] = 0.9 * product + 0.1 * torch.diag(product.diagonal())
            inverse = torch.linalg.inv(gram["math"] + gram["code"])
            expected = inverse @ (gram["math"] @ w["math"].T + gram["code"] @ w["code"].T)
            torch.testing.assert_close(base[name] + delta, expected.T, rtol=1e-8, atol=1e-9)
            checked += 1
        else:
            torch.testing.assert_close(base[name] + delta, (w["math"] + w["code"]) / 2)
    assert checked == 14 + (kind == "llama")  # seven in each of two layers, and the output layer


def test_regmean_without_a_factor_has_the_least_squared_error_of_outputs(tmp_path: Path) -> None:
    """Its own claim: no other weights are nearer to all checkpoints' outputs on their inputs."""
    sources, method = family(tmp_path), RegMean()
    method.factor, method.ridge = 1.0, 1e-12
    found, _ = compute(method, bench(sources, tmp_path / "s"))
    x = {who: inputs_of_layers(sources, who) for who in ("math", "code")}
    name = "model.layers.1.mlp.up_proj.weight"

    def error(weight: torch.Tensor) -> float:
        return sum(
            float((x[who][name] @ (weight - weights(sources, who)[name]).T).square().sum())
            for who in x
        )

    best = weights(sources, "base")[name] + found[name]
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        other = best + 1e-3 * torch.randn(best.shape, generator=generator, dtype=torch.float64)
        assert error(other) > error(best)


def test_a_feature_that_is_never_on_is_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(*arguments: Any) -> dict[str, torch.Tensor]:
        found = grams(*arguments)
        for gram in found.values():
            gram[3], gram[:, 3] = 0, 0
        return found

    monkeypatch.setattr("exme.search.directions.regmean.grams", off)
    sources = family(tmp_path)
    found, _ = compute(RegMean(), bench(sources, tmp_path / "s"))
    t, name = deltas(sources), "model.layers.0.mlp.up_proj.weight"
    mean = (t["math"][name] + t["code"][name]) / 2
    torch.testing.assert_close(found[name][:, 3], mean[:, 3])
    assert float((found[name] - mean)[:, 4].abs().max()) > 1e-4


def test_regmean_refuses_a_model_without_linear_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exme.search.directions.regmean.linear_layers", lambda _: {})
    with pytest.raises(UserError, match=r"LlamaForCausalLM has no torch.nn.Linear layers"):
        RegMean().check(bench(family(tmp_path), tmp_path / "s"))


def fisher(sources: Sources, who: str) -> dict[str, torch.Tensor]:
    """Mean squared gradient of the log-likelihood of the answers, one example at a time."""
    model = dense(sources, who)
    found = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for example in EXAMPLES:
        model.zero_grad()
        logs = model(torch.tensor([example.ids])).logits[0].log_softmax(-1)
        start = len(example.prompt)
        said = [logs[start - 1 + i, token] for i, token in enumerate(example.answer)]
        torch.stack(said).sum().backward()
        for name, p in model.named_parameters():
            assert p.grad is not None
            found[name] += p.grad**2 / len(EXAMPLES)
    return found


@pytest.mark.parametrize("alpha", [1.0, 0.7])
@pytest.mark.parametrize("kind", ["llama", "llama-tied"])
def test_gradient_matching_is_its_equation(tmp_path: Path, kind: str, alpha: float) -> None:
    sources, method = family(tmp_path, kind), GradientMatching()
    method.alpha = alpha
    found, _ = compute(method, bench(sources, tmp_path / "s"))
    h = {who: fisher(sources, who) for who in ("base", "math", "code")}
    t = deltas(sources)
    for name, vector in found.items():
        damping = 0.1 * float((h["math"][name] + h["code"][name]).mean())
        bar = h["base"][name] + alpha * (h["math"][name] + h["code"][name]) + damping
        expected = torch.zeros_like(vector)
        for who in ("math", "code"):
            expected += alpha * (h["base"][name] + h[who][name] + damping) / bar * t[who][name]
        torch.testing.assert_close(vector, expected, rtol=1e-9, atol=1e-12)


def test_gradient_matching_with_much_damping_is_task_arithmetic(tmp_path: Path) -> None:
    sources, method = family(tmp_path), GradientMatching()
    method.damping = 1e12
    found, _ = compute(method, bench(sources, tmp_path / "s"))
    t = deltas(sources)
    for name, vector in found.items():
        torch.testing.assert_close(vector, t["math"][name] + t["code"][name])
