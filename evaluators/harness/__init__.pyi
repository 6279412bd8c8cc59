from .finite import FiniteLogits as FiniteLogits
from .interface import Chat as Chat, Engine as Engine, Evaluation as Evaluation
from .judge import Judge as Judge, settle as settle
from .noise import quiet as quiet
from .prompts import check_prompts as check_prompts, longest_requests as longest_requests
from .samples import is_samples as is_samples, read_samples as read_samples
from .stock import StockEngine as StockEngine
from .tasks.task import (
    TaskHeader as TaskHeader,
    task_headers as task_headers,
    task_order as task_order,
)
from .verify import (
    LmEvalScores as LmEvalScores,
    hf_model as hf_model,
    lm_eval_scores as lm_eval_scores,
)
from .vllm_model import SeededVLLM as SeededVLLM, VllmModel as VllmModel
