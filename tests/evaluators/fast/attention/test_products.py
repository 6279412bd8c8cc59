"""oneDNN's products are the layer's own, and the model is as it was afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from exme.evaluators.fast.attention import products


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(products, "is_better", lambda: True)
    monkeypatch.setattr(products, "_LEAST", 0)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 64, 161])
@pytest.mark.parametrize("bias", [False, True])
def test_a_product_is_what_the_layer_computes(rows: int, bias: bool) -> None:
    torch.manual_seed(rows)
    layer = nn.Linear(48, 40, bias=bias)
    for shape in ((rows, 48), (1, rows, 48), (rows, 1, 48)):
        given = torch.randn(shape)
        expected = layer(given)
        with torch.inference_mode(), products.faster_products(layer):
            found = layer(given)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_new_weights_are_what_is_multiplied_with() -> None:
    """Candidates are written into the layer in place; nothing may be kept of the last one."""
    layer = nn.Linear(32, 32, bias=False)
    given = torch.randn(64, 32)
    with torch.inference_mode(), products.faster_products(layer):
        layer(given)
        layer.weight.copy_(2.0 * torch.eye(32))
        torch.testing.assert_close(layer(given), 2.0 * given)


def test_the_layer_is_as_it_was_afterwards() -> None:
    layer = nn.Linear(32, 32)
    with products.faster_products(layer):
        assert "forward" in vars(layer)
    assert "forward" not in vars(layer)


class Other(nn.Linear):
    """Of another kind, which may compute something else."""


@pytest.mark.parametrize("layer", [Other(32, 32), nn.Linear(32, 32).bfloat16()])
def test_other_layers_are_left_alone(layer: nn.Linear) -> None:
    with products.faster_products(layer):
        assert "forward" not in vars(layer)


@pytest.mark.parametrize(
    ("vendor", "capability", "better"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("GenuineIntel", "AVX512", False),
        ("AuthenticAMD", "AVX2", False),
    ],
)
def test_it_is_used_where_the_default_leaves_the_processor_idle(
    vendor: str, capability: str, better: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    monkeypatch.setattr(Path, "read_text", lambda path, **_: f"vendor_id\t: {vendor}\n")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert products.is_better.__wrapped__() == better
