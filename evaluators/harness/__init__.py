"""lm-eval behind one door: nothing outside this folder imports it.

`judge` scores engines, `task` builds lm-eval's tasks over documents of our choice, `stock` is lm-eval's own
model over the resident one, `finite` watches its logits,
`servable` says whether it can be asked, `verify` has lm-eval score the same documents by
itself.
"""

from .finite import FiniteLogits
from .interface import Chat, Engine, Evaluation
from .judge import Judge
from .servable import check_requests
from .stock import StockEngine
from .task import TaskHeader, task_headers
from .verify import LmEvalScores, lm_eval_scores

__all__ = [
    "Chat",
    "Engine",
    "Evaluation",
    "FiniteLogits",
    "Judge",
    "LmEvalScores",
    "StockEngine",
    "TaskHeader",
    "check_requests",
    "lm_eval_scores",
    "task_headers",
]
