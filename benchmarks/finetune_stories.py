"""Make two quick fine-tunes of a local model on real GSM8K, for a search on real files.

The model is far too small to do mathematics (0.26M parameters); what this shows is the whole way
from local safetensors folders and real documents to a proved or unproven winner. Documents that a
study with seed 0 searches on are left out of the training.

    python benchmarks/finetune_stories.py --base ../shared/models/stories260K \
        --data ../shared/data --out studies/runs/stories
"""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.tasks.documents import load_documents
from exme.tasks.suite import load_suite

LENGTH = 256
ROWS = 16


def training_texts(data: Path, search: int) -> list[str]:
    """Problems in lm-eval's prompt format, without few-shot and search documents."""
    suite = load_suite("gsm8k")
    chosen = load_documents(suite, str(data), search=search, report=1, seed=0)
    everything = load_documents(suite, str(data), search=None, report=1, seed=0)
    taken = {d.id for d in chosen.search}
    return [
        f"Question: {d.row['question']}\nAnswer: {d.row['answer']}\n\n"
        for d in everything.search
        if d.id not in taken
    ]


def finetune(
    base: Path, texts: list[str], out: Path, *, steps: int, rate: float, seed: int
) -> float:
    """Train a copy of the base on packed texts and save it; returns the last mean loss (nats)."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).train()
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    rows = torch.tensor(ids[: len(ids) // LENGTH * LENGTH]).view(-1, LENGTH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (ROWS,), generator=generator)]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    # The slow-moving files of the base, so that all three folders are alike.
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if not (base / name).exists():  # transformers 5 writes no special_tokens_map.json
            continue
        shutil.copyfile(base / name, out / name)
    return float(sum(losses[-20:]) / 20)


def main() -> None:
    """Make both fine-tunes, each on a half of the documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--search", type=int, default=128, help="search documents to leave out")
    options = parser.parse_args()
    texts = training_texts(options.data, options.search)
    random.Random(0).shuffle(texts)
    halves = {"first": texts[: len(texts) // 2], "second": texts[len(texts) // 2 :]}
    for seed, (name, half) in enumerate(halves.items()):
        loss = finetune(
            options.base, half, options.out / name, steps=options.steps, rate=1e-3, seed=seed
        )
        print(f"{options.out / name}: {len(half)} documents, last loss {loss:.3f}")


if __name__ == "__main__":
    main()
