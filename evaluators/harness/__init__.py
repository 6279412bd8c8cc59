"""lm-eval behind one door: nothing outside this folder imports it.

`judge` scores engines, `task` builds lm-eval's tasks over documents of our choice, `stock` is lm-eval's own
model over the resident one, `finite` watches its logits, `verify` has lm-eval score the same documents by
itself.
"""

from .finite import FiniteLogits
from .interface import Chat, Engine, Evaluation
from .judge import Judge
from .stock import StockEngine
from .task import TaskHeader, task_headers
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
    "hf_model",
    "lm_eval_scores",
    "task_headers",
]
