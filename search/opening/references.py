"""Reference answers of suites that have none: what the study's own checkpoints answer and the metric accepts.

`target_nll` needs an answer to measure. Where a suite has none to give (`references_from_inputs`), a
document's is the greedy answer of a checkpoint that scores 1 on it, the checkpoints taking turns at being asked
first; that is how rejection sampling makes training data (Yuan et al., arXiv:2308.01825). A document that no
checkpoint answers right says nothing of any candidate. Report documents get none: they prove by the metric alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from exme.search.merging import Candidate
from exme.search.scoring import Scorer, Worker
from exme.search.storage import Storage
from exme.tasks import Document, SuiteDocuments, UserError

# The column of a document in which its reference answer stands.
COLUMN = "reference"
# A document's score of an answer that is right.
RIGHT = 1.0

# By suite and document.
References = Mapping[str, Mapping[str, str]]


_ELSEWHERE = "Another process is collecting reference answers; waiting for it."


def take_references(
    documents: list[SuiteDocuments],
    inputs: Sequence[Candidate],
    worker: Callable[[], Scorer],
    storage: Storage,
    say: Callable[[str], None],
    note: Callable[[str], None],
) -> list[SuiteDocuments]:
    """The same documents with the reference answers that they lack, collected once a study.

    Args:
        inputs: the study's checkpoints.
        worker: asked only where nobody has collected them; one that asks no model leaves documents
            as they are.
        storage: where they are kept for all workers.
        say: writes a line; `note` says what goes on now.
        note: see `say`.

    Raises:
        UserError: see `collect_references`.
    """
    lacking = lack_references(documents)
    if not lacking:
        return documents
    with storage.hold("references", lambda: say(_ELSEWHERE)):
        found = storage.record.agreed("references")
        if found is None:
            asked = worker()
            if not isinstance(asked, Worker):
                return documents
            note(f"Collecting reference answers for {', '.join(lacking)}.")
            found = storage.record.agree_on(
                "references", collect_references(asked, inputs, lacking)
            )
            for line in describe_references(documents, found):
                say(line)
    return with_references(documents, found)


def lack_references(documents: Sequence[SuiteDocuments]) -> list[str]:
    """Names of the suites whose search documents must get reference answers from the inputs."""
    return [
        found.suite.suite
        for found in documents
        if found.suite.references_from_inputs and any(map(_lacks, found.search))
    ]


def collect_references(
    worker: Worker, inputs: Sequence[Candidate], suites: Sequence[str]
) -> References:
    """Ask every input for its answers on the search documents of these suites.

    Args:
        worker: one of this process; an input is in its model afterwards.
        inputs: the study's checkpoints.

    Raises:
        UserError: a suite has no document that any input answers right.
    """
    right: dict[str, list[dict[str, str]]] = {suite: [] for suite in suites}
    for candidate in inputs:
        for suite, found in worker.answer(candidate, suites).items():
            pairs = zip(found.scores.documents, found.scores.values, found.answers, strict=True)
            right[suite].append({d: said for d, v, said in pairs if v >= RIGHT and said.strip()})
    references: dict[str, dict[str, str]] = {}
    for documents in worker.documents:
        suite = documents.suite.suite
        if suite not in right:
            continue
        references[suite] = {}
        for place, document in enumerate(filter(_lacks, documents.search)):
            first = place % len(inputs)
            turns = [*right[suite][first:], *right[suite][:first]]
            said = next((by[document.id] for by in turns if document.id in by), None)
            if said is not None:
                references[suite][document.id] = said
        if not references[suite] and all(map(_lacks, documents.search)):
            raise UserError(
                f"suite '{suite}': no reference answers to measure target_nll by: it has none of its "
                f"own, and none of the checkpoints answers any of its {len(documents.search)} search "
                f"documents right; add a column '{COLUMN}' to the data, or use `measure: metric`"
            )
    return references


def with_references(
    documents: Sequence[SuiteDocuments], references: References
) -> list[SuiteDocuments]:
    """The same documents, with these reference answers on those for the search."""
    return [
        replace(found, search=tuple(_with(d, references[name].get(d.id)) for d in found.search))
        if (name := found.suite.suite) in references
        else found
        for found in documents
    ]


def describe_references(documents: Sequence[SuiteDocuments], references: References) -> list[str]:
    """A line for each suite: how many documents count."""
    sizes = {found.suite.suite: len(found.search) for found in documents}
    return [
        f"{suite}: reference answers for {len(found)} of {sizes[suite]} search documents, from what "
        f"the checkpoints answer right; the others count the same for all candidates."
        for suite, found in references.items()
    ]


def _lacks(document: Document) -> bool:
    return document.row.get(COLUMN) is None


def _with(document: Document, reference: str | None) -> Document:
    if reference is None:
        return document
    return replace(document, row={**document.row, COLUMN: reference})
