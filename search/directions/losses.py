"""What directions minimise over search examples: entropy of predictions, likelihood of reference answers.

Each is the sum over a batch, divided by the number of all examples, so that the sum over the batches is the
mean over the examples.
"""

from __future__ import annotations

import torch

from .bench import Batch, Bench


def entropy(bench: Bench, batch: Batch) -> torch.Tensor:
    """Mean entropy (nats) of the next token after each prompt; no answer is used.

    Source: Yang et al. 2024, arXiv:2310.02575, where it is a classifier's; the prediction of a
    language model for a document is its first token here.
    """
    ends = [len(example.prompt) for example in batch.examples]
    last = batch.ids.shape[1] - min(ends) + 1
    rows = torch.arange(len(ends), device=batch.ids.device)
    places = torch.tensor(ends, device=batch.ids.device) - 1 - (batch.ids.shape[1] - last)
    logs = bench.logits(batch, last)[rows, places].log_softmax(-1)
    return -(logs.exp() * logs).sum() / len(bench.examples)


def answer_nll(bench: Bench, batch: Batch) -> torch.Tensor:
    """Mean negative log-likelihood (nats) of the reference answers, each by its length in bytes.

    It is `target_nll` (docs/suites.md) on the examples.
    """
    sizes = torch.tensor([e.size for e in batch.examples], device=batch.ids.device)
    return -(likelihoods(bench, batch) / sizes).sum() / len(bench.examples)


def likelihoods(bench: Bench, batch: Batch) -> torch.Tensor:
    """Log-likelihood (nats) of every reference answer given its prompt: shape (b,)."""
    length = batch.ids.shape[1]
    last = length - min(len(e.prompt) for e in batch.examples) + 1
    logs = bench.logits(batch, last)[:, :-1].log_softmax(-1)
    targets = batch.ids[:, length - last + 1 :]
    found = logs.gather(-1, targets[..., None])[..., 0]
    places = torch.arange(length - last + 1, length, device=batch.ids.device)
    starts = torch.tensor([len(e.prompt) for e in batch.examples], device=batch.ids.device)
    is_answer = (places >= starts[:, None]) & batch.mask[:, length - last + 1 :]
    return torch.where(is_answer, found, 0.0).sum(-1)
