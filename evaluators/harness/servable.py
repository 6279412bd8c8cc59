"""Whether a model and its tokenizer can be asked a suite's requests, before any of them is."""

from __future__ import annotations

from typing import Any

from exme.tasks.errors import UserError

from .judge import Judge
from .stock import StockEngine


def check_requests(judge: Judge, stock: StockEngine) -> None:
    """Refuse what would end in the middle of a trial.

    Args:
        judge: of the suite.
        stock: has the model and its tokenizer.

    Raises:
        UserError: answers have no end, a prompt has no token, or a token has no row in the embedding.
    """
    tokenizer: Any = stock.tokenizer
    rows = int(stock.model.get_input_embeddings().weight.shape[0])
    some_lack_rows = max(tokenizer.get_vocab().values(), default=0) >= rows
    for document, requests in zip(judge.documents, judge.requests, strict=True):
        who = f"suite '{judge.suite.suite}', document {document.id}"
        for request in requests:
            generates = request.request_type == "generate_until"
            if generates and tokenizer.eos_token_id is None:
                raise UserError(
                    f"suite '{judge.suite.suite}' generates answers, and the base's tokenizer has no eos_token to end "
                    f"them; set it in tokenizer_config.json"
                )
            texts = [str(text) for text in request.args[: 1 if generates else 2]]
            if not texts[0].strip() and not _has_beginning(stock, texts[0], generates=generates):
                raise UserError(
                    f"{who}: its prompt is empty, and the tokenizer puts no token before it; change the task's "
                    f"doc_to_text, or give the tokenizer a bos_token that it adds"
                )
            if some_lack_rows:
                _check_rows(who, stock, texts, rows)


def _has_beginning(stock: StockEngine, prompt: str, *, generates: bool) -> bool:
    """Whether an empty prompt has a token to begin with."""
    if generates:
        return bool(stock.tok_encode(prompt))
    return stock.prefix_token_id is not None


def _check_rows(who: str, stock: StockEngine, texts: list[str], rows: int) -> None:
    for text in texts:
        beyond = next((i for i in stock.tok_encode(text) if i >= rows), None)
        if beyond is not None:
            token = stock.tokenizer.convert_ids_to_tokens(beyond)
            raise UserError(
                f"{who}: token {token!r} has id {beyond}, and the base's embedding has {rows} rows; give the base the "
                f"tokenizer that it was trained with"
            )
