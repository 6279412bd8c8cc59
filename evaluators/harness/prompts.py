"""Whether a model's tokeniser and embedding can take a suite's prompts, before any is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from exme.tasks import UserError

from .interface import answer_limit

if TYPE_CHECKING:
    from .judge import Judge


# Characters at the end of a prompt that what follows may share a token with.
_END = 64


def check_prompts(judge: Judge, reference: Any, rows: int) -> None:
    """Refuse prompts on which lm-eval's `hf` model would break.

    Args:
        judge: of the suite; its prompts are those of the base.
        reference: lm-eval's model over the base: one of its model classes.
        rows: of the model's embedding.

    Raises:
        UserError: answers have no room or no end, a prompt has no token, or one beyond the embedding, or an answer
            has none.
    """
    where = f"suite '{judge.suite.suite}'"
    longest, context = judge.longest_answer, reference.max_length
    if longest >= context:
        raise UserError(
            f"{where}: answers of up to {longest} tokens leave no room for a prompt in a context of "
            f"{context}; set `max_gen_toks` in the study file"
        )
    if longest and reference.tokenizer.eos_token_id is None:
        raise UserError(
            f"{where}: its answers are generated, and the base's tokenizer has no end token (eos_token), at "
            f"which lm-eval ends them; name one in the base's tokenizer_config.json"
        )
    for document, asked in zip(judge.documents, judge.requests, strict=True):
        for request in asked:
            prompt = str(request.args[0])
            generates = request.request_type == "generate_until"
            if prompt.strip() == "" and not _begins(prompt, reference, generates=generates):
                raise UserError(
                    f"{where}: the prompt of document {document.id} is empty, and the base's tokenizer puts "
                    f"no token before it; see `doc_to_text` of lm-eval task '{document.task}'"
                )
            if not generates and _adds_nothing(prompt, str(request.args[1]), reference):
                raise UserError(
                    f"{where}: the answer {request.args[1]!r} to document {document.id} adds no token to its prompt, so its "
                    f"likelihood cannot be measured; have `doc_to_target` of lm-eval task '{document.task}' begin with a space"
                )
    beyond = next(_beyond(judge, reference, rows), None)
    if beyond is not None:
        identifier, token, count = beyond
        text = reference.tokenizer.convert_ids_to_tokens(token)
        raise UserError(
            f"{where}: document {identifier} has token {token} ({text!r}) of the base's tokenizer, and the base's "
            f"embedding has {count} rows; give the base the tokenizer that it was trained with"
        )


def longest_requests(judge: Judge, reference: Any, most: int) -> list[tuple[str, int]]:
    """Documents whose prompt and answer take more than `most` tokens, and how many they take, the longest first.

    Args:
        reference: lm-eval's model over the base.
        most: tokens of a sequence; lm-eval cuts what is longer, from its beginning.
    """
    found: dict[str, int] = {}
    for document, asked in zip(judge.documents, judge.requests, strict=True):
        for request in asked:
            if request.request_type == "generate_until":
                taken = len(reference.tok_encode(request.args[0])) + answer_limit(request)
            else:  # (vLLM generates a token behind what it measures)
                taken = len(reference.tok_encode("".join(request.args))) + 1
            if taken > most:
                found[document.id] = max(taken, found.get(document.id, 0))
    return sorted(found.items(), key=lambda pair: -pair[1])


def _begins(prompt: str, reference: Any, *, generates: bool) -> bool:
    if generates:
        return bool(reference.tok_encode(prompt))
    return bool(prompt) or reference.prefix_token_id is not None


def _adds_nothing(prompt: str, answer: str, reference: Any) -> bool:
    """Whether a prompt has as many tokens with an answer behind it as without; its end tells."""
    if answer[:1].isspace() and answer.strip():
        return False  # (words of their own)
    end = prompt[-_END:]
    return len(reference.tok_encode(end + answer)) <= len(reference.tok_encode(end.rstrip()))


def _beyond(judge: Judge, reference: Any, count: int) -> Iterator[tuple[str, int, int]]:
    """Documents with a token that the model has no row for, that token, and how many rows there are."""
    if max(reference.tokenizer.get_vocab().values(), default=0) < count:
        return
    for document, asked in zip(judge.documents, judge.requests, strict=True):
        for request in asked:
            for text in request.args:
                ids = reference.tok_encode(text) if isinstance(text, str) else []
                yield from ((document.id, i, count) for i in ids if i >= count)
