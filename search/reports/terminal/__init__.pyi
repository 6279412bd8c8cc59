from .events import JsonScreen as JsonScreen, search_facts as search_facts
from .fitting import print_fitting as print_fitting
from .live import LiveScreen as LiveScreen
from .panel import SearchPanel as SearchPanel
from .status import all_runs as all_runs, runs_table as runs_table
