"""lm-eval by itself on the same documents: `simple_evaluate` with its `hf` model, for `exme verify`.

lm-eval loads whole splits, picks the documents by their positions, builds prompts, generates, filters,
scores and aggregates; of ours there are the model's weights and the rows, and for generated code the sandbox.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import lm_eval
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from exme.tasks import Suite, SuiteDocuments, UserError, one_line

from .interface import Chat
from .noise import quiet, silent
from .stock import SeededHFLM
from .tasks.task import build_task, row_of, task_manager


@dataclass(frozen=True)
class LmEvalScores:
    """What lm-eval found.

    Attributes:
        aggregates: lm-eval's aggregated metric by lm-eval task.
        per_document: metric by document identifier, as lm-eval gives it.
        answers: the raw generated text by document identifier; of suites that generate.
    """

    aggregates: dict[str, float]
    per_document: dict[str, float]
    answers: dict[str, str]


def hf_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int) -> Any:
    """lm-eval's `hf` model over a model in this process, `batch_size` rows a batch."""
    with quiet():
        return SeededHFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)


def lm_eval_scores(
    documents: SuiteDocuments,
    split: str,
    model: Any,
    chat: Chat,
    only: Collection[str] | None = None,
) -> LmEvalScores:
    """Scores by `lm_eval.simple_evaluate`.

    Args:
        split: ``search`` or ``report``.
        model: lm-eval's model, with the weights to judge.
        only: identifiers of the documents to score; all by default.
    """
    suite = documents.suite
    manager = task_manager(suite)
    tasks, samples, identifiers = [], {}, {}
    for name in suite.lm_eval_tasks:
        mine = [d for d in documents.of(split) if d.task == name and (only is None or d.id in only)]
        if not mine:
            continue
        built = build_task(manager, documents, name, mine)
        places = built.split.of([row_of(d) for d in mine])
        tasks.append(built.task)
        samples[name] = sorted(places)
        identifiers[name] = dict(zip(places, (d.id for d in mine), strict=True))
    results = _evaluate(
        suite,
        chat,
        model=model,
        tasks=tasks,
        task_manager=manager,  # one of its own would index all of lm-eval, for seconds
        samples=samples,
        fewshot_random_seed=documents.seed,
    )
    found: list[tuple[str, dict[str, Any]]] = [
        (identifiers[name][sample["doc_id"]], sample)
        for name in samples
        for sample in results["samples"][name]
        if sample["filter"] == suite.filter
    ]
    return LmEvalScores(
        {name: float(results["results"][name][suite.metric_name]) for name in samples},
        {identifier: float(sample[suite.metric]) for identifier, sample in found},
        {
            identifier: sample["resps"][0][0]
            for identifier, sample in found
            if isinstance(sample["resps"][0][0], str)
        },
    )


def _evaluate(suite: Suite, chat: Chat, **arguments: Any) -> dict[str, Any]:
    """`lm_eval.simple_evaluate` as a suite's documents are scored here.

    Raises:
        UserError: it breaks off.
    """
    limit = {"max_gen_toks": suite.max_gen_toks} if suite.max_gen_toks is not None else None
    try:
        # lm-eval draws progress bars that no argument turns off, and asks git for its version.
        with quiet(), silent():
            results: dict[str, Any] = lm_eval.simple_evaluate(
                **arguments,
                gen_kwargs=limit,
                apply_chat_template=chat.apply is not None,
                system_instruction=chat.system,
                fewshot_as_multiturn=chat.apply is not None and chat.multiturn,
                confirm_run_unsafe_code=True,  # it runs in the sandbox
                bootstrap_iters=0,
            )
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  (functions of the user's, and what lm-eval makes of all metrics)
        reason = f"{type(error).__name__}: {one_line(str(error))}"
        raise UserError(
            f"suite '{suite.suite}': lm-eval's own evaluation breaks off ({reason})"
        ) from None
    return results
