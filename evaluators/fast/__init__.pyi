from .decoding import DraftStore as DraftStore
from .engine import FastEngine as FastEngine
from .memory import is_out_of_memory as is_out_of_memory
from .reference import Generation as Generation
