"""Reference answers as requests: what a model is asked for `target_nll`.

target_nll of a document is the negative log-likelihood of its reference answer given its prompt, in nats,
by the answer's length in bytes, so that tokenizers and lengths compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jinja2
from lm_eval.api.instance import Instance

from exme.tasks import Suite, UserError


class NoReference(UserError):
    """A document has no reference answer."""


_TEMPLATES = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


def target_request(suite: Suite, task: Any, requests: Sequence[Instance], plain: bool) -> Instance:
    """The request for the log-likelihood of a document's reference answer.

    Args:
        suite: the suite; its `reference` says what the answer is.
        task: the lm-eval task of the document.
        plain: no chat template; only then lm-eval's delimiter stands before the answer.

    Raises:
        NoReference: the document lacks a column that its reference answer is made of.
        UserError: its reference answer is empty.
    """
    document = requests[0].doc
    if suite.reference is not None:
        # A column that only some documents have is None in the others.
        columns = {name: value for name, value in document.items() if value is not None}
        try:
            text = _TEMPLATES.from_string(suite.reference).render(columns)
        except jinja2.UndefinedError as error:
            raise NoReference(
                f"suite '{suite.suite}': no reference answer to measure target_nll by ({error}; "
                f"reference: {suite.reference!r}); add that column to the data, or use "
                f"`measure: metric`"
            ) from None
        return _request(requests[0], str(requests[0].args[0]), text, suite)
    target = task.doc_to_target(document)
    if isinstance(target, int) and requests[0].request_type == "loglikelihood":
        context, choice = requests[target].args[:2]  # one request a choice
        return _request(requests[0], context, choice, suite)
    if isinstance(target, list):
        target = target[0] if target else ""
    delimiter = task.config.target_delimiter if plain else ""
    return _request(requests[0], str(requests[0].args[0]), f"{delimiter}{target}", suite)


def _request(like: Instance, context: str, answer: str, suite: Suite) -> Instance:
    if not answer.strip():
        raise UserError(
            f"suite '{suite.suite}': a document's reference answer is empty; target_nll needs one "
            f"for every document"
        )
    return Instance(
        request_type="loglikelihood",
        doc=like.doc,
        arguments=(context, answer),
        idx=0,
        metadata=like.metadata,
    )
