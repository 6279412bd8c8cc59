"""Train the mini models: `python -m exme.tasks.mini.training.train --out DIR [--preset full|tiny]`."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from exme.tasks.mini import MODEL_NAMES
from exme.tasks.mini.suites import Document

from .curriculum import STAGES, corpora
from .packing import Batch, batches, encode
from .presets import PRESETS, SUITES
from .recipe import Recipe, Shape, Stage
from .saving import (
    RECORD,
    Weights,
    digests,
    read_weights,
    rounded,
    save,
    write_card,
    write_record,
)
from .scoring import accuracy, combine, load_weights, questions
from .tokenizer import train_tokenizer

THREADS = 1  # the order of sums, and so the last bits of the weights, depend on it
TOKENIZER_DOCUMENTS = 5000
# Coefficients of sums and of products at which the record scores the merge.
POINTS = ((0, 0), (1, 0), (0, 1), (0.5, 0.5), (1, 1), (1.25, 1.25), (1.5, 1.5), (1, 1.5), (1.5, 1))


@dataclass(frozen=True)
class StageRecord:
    """What happened in one stage.

    Attributes:
        documents: how many the corpus has.
        tokens: trained on, prompts counted, padding not.
        losses: mean loss (nats per weighted token) of each tenth of the steps.
        seconds: wall clock.
    """

    documents: int
    steps: int
    tokens: int
    losses: list[float]
    seconds: float


def build(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Return an untrained model in float32."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=shape.positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def loss_of(model: LlamaForCausalLM, batch: Batch, bfloat16: bool = False) -> torch.Tensor:
    """Return the weighted mean cross-entropy of a batch, in nats per token; a scalar."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = model(batch.ids[:, :-1]).logits.flatten(0, 1).float()
    labels, weights = batch.ids[:, 1:].flatten(), batch.weights[:, 1:].flatten()
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return (losses * weights).sum() / weights.sum()


def run_stage(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    documents: Sequence[Document],
    stage: Stage,
    recipe: Recipe,
    snapshot: Callable[[int], None] | None = None,
) -> StageRecord:
    """Train `model` in place and return the record.

    Args:
        model: starts and ends here.
        documents: of this stage, in order.
        stage: the stage's part of the recipe.
        recipe: what all stages share.
        snapshot: called after every step with the number of steps done; to look at a run.
    """
    began = time.perf_counter()
    source = batches(
        tokenizer,
        encode(tokenizer, documents),
        rows=stage.rows,
        length=recipe.length,
        prompt_weight=recipe.prompt_weight,
        end_share=recipe.end_share,
        seed=recipe.seed,
    )
    optimiser = torch.optim.AdamW(
        model.parameters(), stage.learning_rate, betas=(0.9, 0.95), weight_decay=stage.weight_decay
    )
    losses: list[float] = []
    mean: Weights = {}
    tokens = 0
    model.train()
    for step in range(stage.steps):
        for group in optimiser.param_groups:
            group["lr"] = stage.rate(step)
        parts = [next(source) for _ in range(stage.accumulate)]
        losses.append(one_step(model, optimiser, parts, recipe.bfloat16))
        tokens += sum(int((batch.weights > 0).sum()) for batch in parts)
        if snapshot is not None:
            snapshot(step + 1)
        if (averaged := step - stage.steps + stage.average) >= 0:
            mean = running_mean(mean, model, averaged + 1)
    load_weights(model, mean)
    tenth = max(stage.steps // 10, 1)
    return StageRecord(
        documents=len(documents),
        steps=stage.steps,
        tokens=tokens,
        losses=[
            round(sum(part) / len(part), 4)
            for part in (losses[i : i + tenth] for i in range(0, len(losses), tenth))
        ],
        seconds=round(time.perf_counter() - began, 1),
    )


def one_step(
    model: LlamaForCausalLM,
    optimiser: torch.optim.Optimizer,
    parts: Sequence[Batch],
    bfloat16: bool,
) -> float:
    """Take a step by the mean gradient of several batches; return their mean loss."""
    total = 0.0
    for batch in parts:
        loss = loss_of(model, batch, bfloat16) / len(parts)
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return total


def running_mean(mean: Weights, model: LlamaForCausalLM, count: int) -> Weights:
    """Return the mean of `count` models' weights, of which the last is `model`'s and `mean` the others'."""
    new = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if count == 1:
        return {name: tensor.clone() for name, tensor in new.items()}
    return {name: old + (new[name] - old) / count for name, old in mean.items()}


def score_points(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    weights: Mapping[str, Weights],
    documents: int,
) -> list[dict[str, object]]:
    """Return the accuracy on the first search documents of every suite, at each of POINTS."""
    asked = {name: questions(name, documents) for name in SUITES}
    scores: list[dict[str, object]] = []
    model.eval()
    for c in POINTS:
        load_weights(model, combine(weights["base"], [weights["sums"], weights["products"]], c))
        accuracies = {name: accuracy(model, tokenizer, some) for name, some in asked.items()}
        scores.append({"sums": c[0], "products": c[1], "accuracy": accuracies})
    return scores


def train(
    recipe: Recipe, folder: Path, keep_base: bool = False, every: int = 0
) -> dict[str, object]:
    """Train the tokenizer and the three models, write them and record.json; return the record.

    Args:
        recipe: everything the weights depend on.
        folder: gets base/, sums/, products/ and record.json.
        keep_base: do not train the base again, it is in `folder` already. The fine-tunes start
            from the saved base in either case, so the weights are the same.
        every: save each stage's model in `folder`/<stage>-<steps> after so many steps; 0 never.
    """
    torch.set_num_threads(THREADS)
    texts = corpora(recipe)
    tokenizer = train_tokenizer(
        (d.prompt + d.target for d in texts["first"][:TOKENIZER_DOCUMENTS]), recipe.shape.vocabulary
    )
    model = build(recipe.shape, tokenizer, recipe.seed)
    stages: dict[str, Stage] = {name: getattr(recipe, name) for name in STAGES}
    weights: dict[str, Weights] = {}
    records: dict[str, StageRecord] = {}
    for name in STAGES:
        if name in ("first", "base") and keep_base:
            old = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            records[name] = StageRecord(**old["stages"][name])
            if name == "base":
                weights[name] = read_weights(folder / name)
            continue
        if name != "first":
            load_weights(model, weights["first" if name == "base" else "base"])

        def snapshot(step: int, name: str = name) -> None:
            if every and step % every == 0:
                save(model, rounded(model), tokenizer, folder / f"{name}-{step}")

        records[name] = run_stage(model, tokenizer, texts[name], stages[name], recipe, snapshot)
        weights[name] = rounded(model)
        if name in MODEL_NAMES:
            save(model, weights[name], tokenizer, folder / name)
            write_card(folder / name, sum(p.numel() for p in model.parameters()))
        write_record(folder, {"stages": {key: asdict(value) for key, value in records.items()}})
        print(name, json.dumps(asdict(records[name])), flush=True)
    scores = score_points(model, tokenizer, weights, recipe.scored) if recipe.scored else []
    record: dict[str, object] = {
        "seed": recipe.seed,
        "recipe": asdict(recipe),
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": THREADS,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "transformers", "tokenizers", "safetensors")},
        "stages": {name: asdict(record) for name, record in records.items()},
        "search_documents": recipe.scored,
        "search_scores": scores,
        "sha256": digests(folder),
    }
    write_record(folder, record)
    return record


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="exme.tasks.mini.training.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the three models")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="full")
    parser.add_argument("--keep-base", action="store_true", help="the base is in --out already")
    parser.add_argument("--every", type=int, default=0, help="save the models every so many steps")
    options = parser.parse_args(arguments)
    transformers_logging.disable_progress_bar()
    options.out.mkdir(parents=True, exist_ok=True)
    train(PRESETS[options.preset], options.out, options.keep_base, options.every)


if __name__ == "__main__":
    main()
