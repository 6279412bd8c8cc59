"""What lm-eval's IFEval checks need beside packages: nltk's punkt_tab, and a seed for langdetect.

lm-eval fetches punkt_tab whenever the task is loaded, says that it did where it could not, and the two
checks that count sentences or words then raise, in the middle of a search. Here it is fetched only
where a document asks for one of these checks, and a search that cannot have it does not begin.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from exme.tasks import Document, UserError

COLUMN = "instruction_id_list"
# Of lm-eval's ifeval/instructions.py: count_sentences and word_tokenize.
NEED_PUNKT = frozenset(
    {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
)


@contextlib.contextmanager
def ifeval_ready(suite: str, documents: Sequence[Document]) -> Iterator[None]:
    """Within this, lm-eval's ifeval task can be loaded; does nothing for other data.

    Args:
        suite: the suite's name, for errors.

    Raises:
        UserError: a document needs punkt_tab, and there is none.
        ImportError: a package of `lm_eval[ifeval]` is missing.
    """
    asked = [set(d.row[COLUMN]) for d in documents if COLUMN in d.row]
    if not asked:
        yield
        return
    import langdetect  # noqa: PLC0415  (both are slow to import, and needed here only)
    import nltk  # noqa: PLC0415

    # Without a seed langdetect draws at random, and the same answer may pass once and fail once.
    langdetect.DetectorFactory.seed = 0
    # An answer without a letter counts as in any language, which needs no error line each.
    logging.getLogger("lm_eval.tasks.ifeval.instructions").setLevel(logging.CRITICAL)
    needing = sum(not NEED_PUNKT.isdisjoint(names) for names in asked)
    if needing and not _has_punkt(nltk):
        raise UserError(
            f"suite '{suite}': {needing} of {len(asked)} documents count sentences or words with "
            f"nltk's punkt_tab, which is neither on this machine nor could be fetched; where there "
            f"is a network run `python -m nltk.downloader punkt_tab`, elsewhere put its folder at "
            f"tokenizers/punkt_tab in a folder that NLTK_DATA names"
        )
    stock = nltk.download
    nltk.download = lambda *_, **__: True
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # "Downloaded punkt_tab on rank 0"
            yield
    finally:
        nltk.download = stock


def _has_punkt(nltk: Any) -> bool:
    """Whether punkt_tab is on this machine; it is fetched where there is a network."""
    for fetch in (False, True):
        if fetch:
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                nltk.download("punkt_tab", quiet=True)
        try:
            nltk.data.find("tokenizers/punkt_tab")
        except LookupError:
            continue
        return True
    return False
