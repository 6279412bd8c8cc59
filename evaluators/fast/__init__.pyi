from .decoding import DraftStore as DraftStore
from .engine import FastEngine as FastEngine
from .reference import Generation as Generation
