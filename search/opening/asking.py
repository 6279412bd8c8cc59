"""Whether an input by itself would be asked otherwise than all candidates are: with the base's tokenizer and generation settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# Generation settings that leave greedy answers as they are, or that lm-eval sets itself.
_HARMLESS = {
    "bos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version", "_from_model_config", "use_cache",
    "max_length", "do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "cache_implementation", "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "num_return_sequences",
}  # fmt: skip


def otherwise(model: Any, own: Any, *, generates: bool) -> Iterator[str]:
    """What differs in the generation settings of two models: of an input's own, and the base's in brackets.

    Args:
        model: the live model, with the base's settings.
        own: the input's own.
        generates: whether any suite asks for answers.
    """
    if not generates:
        return
    ours, theirs = (m.generation_config.to_dict() for m in (model, own))
    for key in sorted((ours.keys() | theirs.keys()) - _HARMLESS):
        mine, other = (_plain(settings.get(key)) for settings in (ours, theirs))
        if mine != other:
            yield f"its generation_config has {key}: {other} (the base's: {mine})"


def other_tokens(tokenizer: Any, own: Any, texts: Sequence[str]) -> Iterator[str]:
    """Whether an input's own tokenizer reads prompts otherwise than the base's.

    Args:
        tokenizer: the base's.
        own: the input's.
        texts: prompts.
    """
    pairs = [(tokenizer.encode(text), own.encode(text)) for text in texts]
    differing = sum(ours != theirs for ours, theirs in pairs)
    if differing:
        yield f"its tokenizer makes other tokens of {differing} of {len(texts)} prompts"


def other_words(tokenizer: Any, own: Any, *, generates: bool, chats: bool) -> Iterator[str]:
    """Whether an input's own tokenizer puts conversations, or ends answers, otherwise than the base's.

    Args:
        tokenizer: the base's.
        own: the input's.
        generates: whether any suite asks for answers.
        chats: whether prompts are put by the chat template.
    """
    if generates and tokenizer.eos_token != own.eos_token:
        yield f"answers end at its tokenizer's {own.eos_token!r} (the base's: {tokenizer.eos_token!r})"
    if chats and _in_template(tokenizer) != _in_template(own):
        yield (
            "its tokenizer has another chat template"
            if own.chat_template
            else "its tokenizer has no chat template"
        )


def _in_template(tokenizer: Any) -> str:
    """A conversation as a tokenizer's template puts it; empty where it cannot."""
    said = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    try:
        return str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
    except Exception:  # noqa: BLE001  (a template may raise any)
        return ""


def _plain(value: Any) -> Any:
    """One value and a list of it are the same to transformers."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
