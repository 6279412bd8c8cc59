"""Generation settings of lm-eval's tasks: read as lm-eval's `hf` model reads them, or refused."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.utils import normalize_gen_kwargs
from transformers import GenerationConfig

from exme.tasks import UserError, did_you_mean, one_line

from .noise import quiet

# lm-eval's own limit of an answer, in tokens (`HFLM.max_gen_toks`).
DEFAULT_LIMIT = 256
_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


def limit_of(settings: Mapping[str, Any]) -> int:
    """Most tokens of an answer, under any of the names that lm-eval takes."""
    given = [settings[name] for name in _LIMITS if settings.get(name) is not None]
    return int(given[0]) if given else DEFAULT_LIMIT


def samples(settings: Mapping[str, Any]) -> bool:
    """Whether answers are drawn at random."""
    asked = settings.get("do_sample")
    return float(settings.get("temperature") or 0.0) > 0 if asked is None else bool(asked)


def seeds(requests: Sequence[Instance]) -> list[int | None]:
    """The seed that each request's answer is drawn from; None where it is not drawn at random.

    It is made of the request's prompt, its settings and how often it was asked for before: the same in every
    run, whatever else is asked for.
    """
    found: list[int | None] = []
    asked: Counter[str] = Counter()
    for request in requests:
        if not samples(request.args[1]):
            found.append(None)
            continue
        told = json.dumps(request.args, sort_keys=True, default=str)
        digest = hashlib.sha256(f"{asked[told]}:{told}".encode()).digest()
        asked[told] += 1
        found.append(int.from_bytes(digest[:8], "big"))
    return found


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Refuse settings with which lm-eval's `hf` model cannot answer.

    Args:
        settings: a request's.
        where: what error messages begin with.

    Raises:
        UserError: names the setting.
    """
    known = {*GenerationConfig().to_dict(), "until", *_LIMITS}
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise UserError(
            f"{where}: generation_kwargs of its lm-eval task: there is no setting '{unknown[0]}'"
            f"{did_you_mean(unknown[0], known)}"
        )
    try:
        with quiet():
            others: dict[str, Any] = dict(normalize_gen_kwargs(dict(settings), DEFAULT_LIMIT))
            until, limit = others.pop("until"), others.pop("max_gen_toks")
            if others["do_sample"] is not True:
                others.pop("temperature", None)
            GenerationConfig(**others).validate()
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: generation settings: {one_line(str(error))}") from None
    if limit < 1:
        raise UserError(f"{where}: max_gen_toks is {limit}; an answer needs a token at least")
    odd = [term for term in until if not isinstance(term, str)]
    if odd:
        raise UserError(f"{where}: until: {odd[0]!r} is no text; give strings at which answers end")
    if others["do_sample"] and float(settings.get("temperature") or 0.0) <= 0:
        raise UserError(
            f"{where}: do_sample is true with temperature {settings.get('temperature', 0.0)}; give a "
            f"temperature above 0, or `do_sample: false`"
        )
