"""What the fast engine does not fit is answered by lm-eval's model, and the log says why."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconH1Config,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
)

from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.fast.support import probe, why_not_greedy, why_not_supported
from tests.helpers.models.shapes import SHAPES, VOCABULARY, Asked, generations, make, prompts, stock


def recurrent() -> Any:
    return AutoModelForCausalLM.from_config(
        MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4)
    ).eval()


def hybrid() -> Any:
    return AutoModelForCausalLM.from_config(
        FalconH1Config(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            mamba_d_ssm=32,
            mamba_n_heads=4,
            mamba_d_head=8,
            mamba_d_state=8,
        )
    ).eval()


class Biased(LlamaForCausalLM):
    """Adds to the logits what depends on the place in the batch: packing rows changes it."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = super().forward(*args, **kwargs)
        out.logits = out.logits + torch.arange(out.logits.shape[1])[None, :, None]
        out.logits[..., ::2] *= -1
        return out


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_attend_through_transformers_interface_are_supported(shape: str) -> None:
    assert why_not_supported(make(shape)) is None


def test_a_model_beside_a_cpu_is_not() -> None:
    model = copy.deepcopy(make("llama")).to("meta")
    assert why_not_supported(model) == "it is on meta, and the fast engine is for CPUs"


def test_learned_positions_are_supported() -> None:
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    model = AutoModelForCausalLM.from_config(config).eval()
    assert why_not_supported(model) is None


@pytest.mark.parametrize("build", [recurrent, hybrid])
def test_layers_whose_state_cannot_be_shared_fall_back(
    build: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = build()
    fast = FastEngine(stock(model, 4))
    assert fast.fallback
    assert [record.getMessage() for record in caplog.records if "engine:" in record.message] == [
        f"engine: stock, not fast: {fast.fallback}"
    ]
    requests = generations(prompts()[10:12], most=4)
    assert fast.generate_until(requests) == stock(model, 4).generate_until(requests)
    pairs: list[Any] = [Asked(("a b", " c"))]
    assert fast.loglikelihood(pairs) == stock(model, 4).loglikelihood(pairs)


def test_a_model_whose_logits_change_with_packing_falls_back() -> None:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=32, num_hidden_layers=1
    )
    config.num_attention_heads = config.num_key_value_heads = 4
    config.head_dim = 8
    reason = why_not_supported(Biased(config).eval())  # type: ignore[no-untyped-call]
    assert reason is not None
    assert "logits change" in reason


def test_the_probe_leaves_the_model_as_it_was() -> None:
    model = make("llama")
    before = model.config._attn_implementation
    difference, spread = probe(model)
    assert difference < 1e-4 * spread
    assert model.config._attn_implementation == before


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("repetition_penalty", 1.1),
        ("num_beams", 4),
        ("no_repeat_ngram_size", 3),
        ("min_length", 5),
        ("max_new_tokens", 7),  # transformers lets it win over the length that lm-eval asks for
        ("token_healing", True),
        ("a_setting_of_next_year", 2),
    ],
)
def test_generation_settings_beyond_greedy_are_named(setting: str, value: float) -> None:
    assert why_not_greedy(GenerationConfig()) is None
    reason = why_not_greedy(GenerationConfig(**{setting: value}))
    assert reason == f"its generation settings have {setting}: {value}"
    # What only sampling would use changes nothing.
    plain = GenerationConfig(
        temperature=0.6, top_p=0.9, top_k=20, do_sample=True, max_length=9, eos_token_id=[1, 2]
    )
    assert why_not_greedy(plain) is None
    assert why_not_greedy(GenerationConfig(num_beams=1, repetition_penalty=1.0)) is None


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotations_that_change_with_the_length_fall_back(kind: str, nested: bool) -> None:
    model = copy.deepcopy(make("llama"))
    rope = {"rope_type": kind, "rope_theta": 1e4}
    model.config.rope_parameters = {"full_attention": rope} if nested else rope
    reason = why_not_supported(model)
    assert reason is not None
    assert kind in reason
