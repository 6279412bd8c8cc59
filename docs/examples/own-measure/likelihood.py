"""A measure of one's own: how likely a model finds the reference answers."""

from __future__ import annotations

from typing import Any


def likelihood(model: Any, tokenizer: Any, documents: list[Any]) -> list[float]:
    """The geometric mean of the probabilities of the answer's tokens, document by document."""
    scores = []
    for document in documents:  # .id, .task (lm-eval's) and .row (the document's columns)
        question, answer = document.row["question"], document.row["answer"]
        whole = tokenizer(f"{question}\n{answer}", return_tensors="pt").input_ids.to(model.device)
        begin = len(tokenizer(f"{question}\n").input_ids)
        logs = model(whole).logits[0, :-1].float().log_softmax(-1)
        each = logs.gather(1, whole[0, 1:, None])[begin - 1 :]
        scores.append(each.mean().exp().item())
    return scores


likelihood.bounds = (0, 1)  # type: ignore[attr-defined]  # read by exme: a gain can be proved
