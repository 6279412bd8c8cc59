from .comparing import compare as compare
from .interrupts import Interrupts as Interrupts, was_asked as was_asked
from .screen import Screen as Screen, candidate_text as candidate_text
from .search import Search as Search, open_search as open_search
from .stored_search import StoredSearch as StoredSearch, open_stored as open_stored
from .ticker import Ticker as Ticker
from .view import View as View
