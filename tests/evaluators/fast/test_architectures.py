"""Checkpoints of many architectures, made from coefficients and asked by ExMe, answer as lm-eval has their folders answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.fast import FastEngine
from exme.evaluators.harness import StockEngine
from exme.search.merging import Candidate
from tests.helpers.models.architectures import ARCHITECTURES, STOCK
from tests.helpers.models.shapes import Asked, generations, prompts, tokenizer
from tests.helpers.models.small_models import open_resident

QUICK = {
    "gpt2", "opt", "falcon-alibi", "qwen2-window", "gemma3", "llama3", "mixtral", "phi3", "cohere2", "granite",
    "deepseek-v3", "mamba",
}  # fmt: skip
CHOICES = (" A", " the apples in a box", "\nAnswer: 12", " 7")


def write(folder: Path, architecture: str) -> dict[str, Path]:
    """A base of spread logits, and a fine-tune of it."""
    generator = torch.Generator().manual_seed(1)
    model: Any = AutoModelForCausalLM.from_config(ARCHITECTURES[architecture]())
    for name, scale in (("base", 0.2), ("tuned", 0.03)):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
        model.save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)
    return {"base": folder / "base", "tuned": folder / "tuned"}


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(a, marks=() if a in QUICK else pytest.mark.slow) for a in ARCHITECTURES],
)
def test_a_checkpoint_answers_as_lm_eval_has_its_folder_answer(
    architecture: str, tmp_path: Path
) -> None:
    family = write(tmp_path, architecture)
    resident = open_resident(family, dtype=torch.float32)
    resident.materialise(
        Candidate({"tuned": 1.0}, "exme", "float32", resident.sources.fingerprints)
    )
    fast = FastEngine(StockEngine(resident.model, resident.tokenizer, 8))
    assert bool(fast.fallback) == (architecture in STOCK)
    plain = HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(family["tuned"]).eval(),
        tokenizer=AutoTokenizer.from_pretrained(family["tuned"]),
        batch_size=1,
    )
    contexts = prompts()[::2]
    answers = generations(contexts, until=["\n\n"], most=16)
    theirs = plain.generate_until(answers, disable_tqdm=True)
    assert fast.generate_until(answers) == theirs
    assert len(set(theirs)) > 4
    choices: list[Any] = [Asked((c, choice)) for c in contexts for choice in CHOICES]
    expected = plain.loglikelihood(choices, disable_tqdm=True)
    for (our, our_greedy), (their, their_greedy) in zip(
        fast.loglikelihood(choices), expected, strict=True
    ):
        assert our == pytest.approx(their, abs=1e-4)
        assert our_greedy == their_greedy
