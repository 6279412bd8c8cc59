"""Train the mini models: `python -m exme.tasks.mini.training.train --out DIR [--preset full|tiny]`."""

from __future__ import annotations

import argparse
import hashlib
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
from .scoring import accuracy, combine, load_weights, questions
from .tokenizer import train_tokenizer

THREADS = 1  # the order of sums, and so the last bits of the weights, depend on it
TOKENIZER_DOCUMENTS = 5000
# Coefficients of sums and of products at which the record scores the merge.
POINTS = ((0, 0), (1, 0), (0, 1), (0.5, 0.5), (1, 1), (1.25, 1.25), (1.5, 1.5), (1, 1.5), (1.5, 1))

RECORD = "record.json"

Weights = dict[str, torch.Tensor]


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
        tokenizer: of all documents.
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
        total = 0.0
        for _ in range(stage.accumulate):
            batch = next(source)
            loss = loss_of(model, batch, recipe.bfloat16) / stage.accumulate
            loss.backward()
            total += loss.item()
            tokens += int((batch.weights > 0).sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(total)
        if snapshot is not None:
            snapshot(step + 1)
        first = stage.steps - stage.average
        if step >= first:
            for name, tensor in model.state_dict().items():
                new = tensor.detach()
                old = mean.get(name)
                mean[name] = new.clone() if old is None else old + (new - old) / (step - first + 1)
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


def rounded(model: LlamaForCausalLM) -> Weights:
    """Return a copy of the weights in bfloat16, as they are saved."""
    return {name: t.detach().to(torch.bfloat16).clone() for name, t in model.state_dict().items()}


def save(
    model: LlamaForCausalLM, weights: Weights, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write a normal Hugging Face folder with bfloat16 safetensors."""
    copy = LlamaForCausalLM(model.config)
    copy.bfloat16()
    load_weights(copy, weights)
    copy.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it private
    tokenizer.save_pretrained(folder)


def write_card(folder: Path, parameters: int) -> None:
    """Write a README.md that says what the model is, and its licence as the hub reads it."""
    size = f"{parameters / 1e6:.2f}M"
    text = (
        "---\nlicense: apache-2.0\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n"
        f"# mini/{folder.name}\n\n"
        f"One of ExMe's mini models: a Llama of {size} parameters that ships with the package, so that\n"
        "everything runs offline. `python -m exme.tasks.mini.training.train` made it from generated problems; it is\n"
        "of no use beyond them. docs/mini-models.md says how.\n"
    )
    (folder / "README.md").write_bytes(text.encode())


def read_weights(folder: Path) -> Weights:
    """Return the saved weights, in bfloat16."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


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


def write_record(folder: Path, record: Mapping[str, object]) -> None:
    """Write record.json, the same bytes on every system."""
    (folder / RECORD).write_bytes((json.dumps(record, indent=1) + "\n").encode())


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of the three models, by path below `folder`."""
    files = sorted(
        path for name in MODEL_NAMES for path in (folder / name).iterdir() if path.is_file()
    )
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


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
