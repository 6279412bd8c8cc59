"""Two short training runs, by transformers' own Trainer: folders of checkpoints as users have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)

from .skills import Chat, chats

IGNORED = -100  # a label that the loss leaves out
EVALUATION = 32  # chats
OPTIMIZER_FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


@dataclass(frozen=True)
class Recipe:
    """How a skill is trained.

    Attributes:
        skill: of `skills.SKILLS`.
        steps: of the optimizer; a checkpoint is kept each quarter.
        rate: its highest learning rate; it falls to nothing.
        rank: of LoRA; None trains all weights.
        batch: chats of a step.
    """

    skill: str
    steps: int
    rate: float
    rank: int | None = None
    batch: int = 16


RECIPES: Mapping[str, Recipe] = {
    "instructions": Recipe("instructions", steps=20, rate=4e-5),
    "choice": Recipe("choice", steps=64, rate=3e-4, rank=16),
}


def tokens(tokenizer: Any, chat: Chat) -> dict[str, list[int]]:
    """A chat as the model reads it; the loss is over the answer and the end of the turn."""
    prompt = tokenizer.apply_chat_template(chat[:-1], tokenize=False, add_generation_prompt=True)
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(chat[-1]["content"], add_special_tokens=False)["input_ids"]
    answer = [*answer, tokenizer.eos_token_id]
    whole = asked + answer
    return {
        "input_ids": whole,
        "attention_mask": [1] * len(whole),
        "labels": [IGNORED] * len(asked) + answer,
    }


def train(base: Path, run: Path, recipe: Recipe) -> None:
    """Train from the base into `run`/checkpoint-<step>; goes on from the last one that is there."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if recipe.rank:
        model = _with_lora(model, recipe.rank)
    examples = [
        [tokens(tokenizer, chat) for chat in chats(recipe.skill, count, seed)]
        for count, seed in ((recipe.steps * recipe.batch, 1), (EVALUATION, 2))
    ]
    arguments = TrainingArguments(
        output_dir=str(run),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=EVALUATION,
        learning_rate=recipe.rate,
        warmup_steps=4,
        weight_decay=0.0,
        bf16=True,  # products alone: weights and optimizer are float32
        use_cpu=True,
        logging_steps=4,
        save_steps=recipe.steps // 4,
        eval_strategy="steps",
        eval_steps=recipe.steps // 4,
        report_to=[],
        seed=0,
    )
    trainer = Trainer(
        model,
        arguments,
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        train_dataset=examples[0],
        eval_dataset=examples[1],
        processing_class=tokenizer,
    )
    trainer.train(resume_from_checkpoint=any(run.glob("checkpoint-*")))
    for name in OPTIMIZER_FILES:  # 1 GB a checkpoint, which nobody needs any more
        for file in run.glob(f"checkpoint-*/{name}"):
            file.unlink()


def _with_lora(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415  (nothing else needs it)

    return get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    )


def trained(run: Path, recipe: Recipe) -> bool:
    """Whether the last checkpoint is there, whole."""
    return (run / f"checkpoint-{recipe.steps}" / "trainer_state.json").is_file()
