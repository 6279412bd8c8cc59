"""Make models that answer real prompts of bbh and humaneval in those suites' own form, to time engines with.

The mini models answer such prompts with a few tokens of nonsense, and then nearly all of an evaluation is prompts. What a
model that people merge does with them is reason for as long as the examples in the prompt do, or write a function. These
fine-tunes of `mini/base` do that, without being right: they are trained on the prompt of a document that no search sees,
followed by the reasoning of one of the prompt's examples with the document's own answer in its last sentence; for
humaneval on the functions of mbpp. One model for both suites, and two fine-tunes of it, each on a half of the texts.

    python benchmarks/imitators.py --data ../shared/data --out studies/runs/imitators

Twenty minutes on one core. `evaluation.py --models studies/runs/imitators` times them.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.harness import Judge
from exme.tasks.documents import load_documents
from exme.tasks.mini import MODELS
from exme.tasks.suite import load_suite

SUBJECTS = 4  # of bbh, as `evaluation.py` has them
POSITIONS = 8192
Text = tuple[str, str]  # a prompt and its answer


def bbh_texts(data: Path, search: int, seed: int) -> list[Text]:
    """Prompts of documents that a search with seed 0 does not see, with reasoning in the examples' form."""
    suite = load_suite("bbh")
    some = dict(list(suite.lm_eval_tasks.items())[:SUBJECTS])
    suite = suite.model_copy(update={"lm_eval_tasks": some})
    taken = {d.id for d in load_documents(suite, str(data), search=search, report=1, seed=0).search}
    everything = load_documents(suite, str(data), search=None, report=1, seed=0)
    judge = Judge(everything, "search")
    draw = random.Random(seed)
    texts = []
    for document, prompt in zip(everything.search, judge.prompts, strict=True):
        if document.id in taken:
            continue
        examples = re.findall(r"step by step\.\n(.*?) So the answer is", prompt, flags=re.DOTALL)
        texts.append(
            (prompt, f"{draw.choice(examples)} So the answer is {document.row['target']}.\n\n")
        )
    draw.shuffle(texts)
    return texts


def humaneval_texts(data: Path, seed: int) -> list[Text]:
    """Functions of mbpp as humaneval asks for them: the signature with a docstring, then the body."""
    found = load_documents(load_suite("mbpp"), str(data), search=None, report=1, seed=0)
    texts = []
    for document in found.search:
        code = document.row["code"].replace("\r", "").replace("\t", "    ")
        head, _, body = code.partition("):")
        if not head.startswith("def ") or not body.startswith(("\n", " \n")) or "\ndef" in body:
            continue
        prompt = f'\n{head}):\n    """{document.row["text"]}\n    """\n'
        texts.append((prompt, f"{body.split(chr(10), 1)[1].rstrip()}\n\n\ndef "))
    random.Random(seed).shuffle(texts)
    return texts


def finetune(
    base: Path, texts: Sequence[Sequence[Text]], out: Path, *, steps: int, rate: float, seed: int
) -> float:
    """Train a copy of a model and save it in float32; returns the last mean loss, nats per token of an answer.

    Args:
        base: folder of the model.
        texts: by suite; a step has one text of bbh and eight of humaneval, which are shorter.
        out: folder to write.
        steps: of Adam.
        rate: the highest learning rate; it falls to none.
        seed: of the order of texts.
    """
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).train()
    model.config.max_position_embeddings = POSITIONS
    tokenizer = AutoTokenizer.from_pretrained(base)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = random.Random(seed)
    losses = []
    for step in range(steps):
        reasoned, programs = texts
        for prompt, answer in [draw.choice(reasoned), *draw.sample(programs, 8)]:
            ids = tokenizer(prompt)["input_ids"]
            said = tokenizer(answer)["input_ids"]
            row = torch.tensor([ids + said])
            # Only the answer is learned: that of the prompt's own examples stands in it already.
            logits = model(row[:, :-1], logits_to_keep=len(said)).logits[0]
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(said))
            loss.backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(
                f"{out.name} {step + 1}: {sum(losses[-180:]) / 180:.3f} {time.process_time():.0f} s",
                flush=True,
            )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sum(losses[-90:]) / 90


def main() -> None:
    """Train the three models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400, help="of the first model")
    parser.add_argument("--search", type=int, default=40, help="documents of bbh to leave out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts = [bbh_texts(options.data, options.search, 0), humaneval_texts(options.data, 0)]
    print(f"{len(texts[0])} texts of bbh, {len(texts[1])} of humaneval")
    base = options.out / "base"
    finetune(MODELS / "base", texts, base, steps=options.steps, rate=2e-3, seed=0)
    for seed, name in enumerate(("sums", "products")):
        half = [part[seed::2] for part in texts]
        loss = finetune(
            base, half, options.out / name, steps=options.steps // 4, rate=5e-4, seed=seed
        )
        print(f"{options.out / name}: last loss {loss:.3f}")


if __name__ == "__main__":
    main()
