"""lm-eval by itself on the same documents: `simple_evaluate` with its `hf` model, for `exme verify`.

lm-eval loads whole splits, picks the documents by their positions, builds prompts, generates, filters,
scores and aggregates; of ours there are the model's weights and the rows, and for generated code the sandbox.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import datasets
import lm_eval
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from exme.tasks.documents import SuiteDocuments
from exme.tasks.rows import open_rows

from .interface import Chat
from .quiet import quiet
from .task import load_task, task_manager


@dataclass(frozen=True)
class LmEvalScores:
    """What lm-eval found.

    Attributes:
        aggregates: lm-eval's aggregated metric by lm-eval task.
        per_document: metric by document identifier.
    """

    aggregates: dict[str, float]
    per_document: dict[str, float]


def lm_eval_scores(
    documents: SuiteDocuments,
    data: str,
    split: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    chat: Chat,
) -> LmEvalScores:
    """Scores by `lm_eval.simple_evaluate`.

    Args:
        documents: the suite's documents.
        data: where they came from: ``mini``, ``hub`` or a folder.
        split: ``search`` or ``report``.
        model: the live model, with the weights to judge.
        tokenizer: its tokenizer.
        batch_size: rows per batch.
        chat: how prompts are put.
    """
    suite = documents.suite
    rows = open_rows(suite, data)
    manager = task_manager(suite)
    tasks, samples, prefixes = [], {}, {}
    for name, subset in suite.lm_eval_tasks.items():
        ids = [d.id for d in documents.of(split) if d.task == name]
        if not ids:
            continue
        prefixes[name] = ids[0].rsplit("/", 1)[0]
        source = prefixes[name].rsplit("/", 1)[-1]
        content = {source: _dataset(rows.read(subset, source))}
        overrides: dict[str, Any] = {"test_split": source}
        if suite.fewshot.split is not None:
            # Zero examples as well: the stock task may bring some of its own.
            overrides["num_fewshot"] = suite.fewshot.count
            overrides["fewshot_config"] = {"sampler": "first_n"}
            if suite.fewshot.count:
                examples = rows.read(subset, suite.fewshot.split)
                content["examples"] = _dataset(examples[: suite.fewshot.count])
                overrides["fewshot_split"] = "examples"
        tasks.append(load_task(manager, suite, name, content, overrides))
        samples[name] = sorted(int(i.rsplit("/", 1)[1]) for i in ids)
    limit = {"max_gen_toks": suite.max_gen_toks} if suite.max_gen_toks is not None else None
    # lm-eval draws progress bars that no argument turns off.
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        results = lm_eval.simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
            tasks=tasks,
            task_manager=manager,  # one of its own would index all of lm-eval, for seconds
            samples=samples,
            gen_kwargs=limit,
            apply_chat_template=chat.apply is not None,
            system_instruction=chat.system,
            fewshot_as_multiturn=chat.apply is not None and chat.multiturn,
            fewshot_random_seed=documents.seed,
            confirm_run_unsafe_code=True,  # it runs in the sandbox
            bootstrap_iters=0,
        )
    return LmEvalScores(
        {name: float(results["results"][name][suite.metric_name]) for name in samples},
        {
            f"{prefixes[name]}/{sample['doc_id']}": float(sample[suite.metric])
            for name in samples
            for sample in results["samples"][name]
            if sample["filter"] == suite.filter
        },
    )


def _dataset(rows: list[dict[str, Any]]) -> datasets.Dataset:
    return datasets.Dataset.from_list(rows)
