"""lm-eval behind one door: nothing outside this folder imports it.

`judge` scores engines, `task` builds lm-eval's tasks over documents of our choice, `stock` is lm-eval's own
model over the resident one, `finite` watches its logits, `verify` has lm-eval score the same documents by
itself.
"""

from .finite import FiniteLogits
from .interface import Chat, Engine, Evaluation
from .judge import Judge
from .prompts import check_prompts, longest_requests
from .settling import settle
from .stock import StockEngine
from .tasks.task import TaskHeader, task_headers, task_order
from .verify import LmEvalScores, hf_model, lm_eval_scores

__all__ = [
    "Chat",
    "Engine",
    "Evaluation",
    "FiniteLogits",
    "Judge",
    "LmEvalScores",
    "StockEngine",
    "TaskHeader",
    "check_prompts",
    "hf_model",
    "lm_eval_scores",
    "longest_requests",
    "settle",
    "task_headers",
    "task_order",
]
