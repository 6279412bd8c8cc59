"""Greedy decoding with drafts of earlier answers, and when an answer ends. Knows tokens and documents' keys; no task, no score."""

from .decode import Decoder, Limits, Row
from .drafts import Drafter, Trust
from .ngrams import Ngrams
from .stops import StopStrings
from .store import DraftStore, document_key

__all__ = [
    "Decoder",
    "DraftStore",
    "Drafter",
    "Limits",
    "Ngrams",
    "Row",
    "StopStrings",
    "Trust",
    "document_key",
]
