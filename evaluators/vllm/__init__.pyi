from .alone import vllm_alone as vllm_alone
from .available import (
    check_installed as check_installed,
    installed_version as installed_version,
    why_not_installed as why_not_installed,
    why_not_supported as why_not_supported,
)
from .engine import Start as Start, VllmEngine as VllmEngine
from .logs import EngineDied as EngineDied
from .memory import Plan as Plan, gib as gib, plan as plan, shape_of as shape_of
from .probe import (
    PROMPTS as PROMPTS,
    TOKENS as TOKENS,
    check_lengths as check_lengths,
    compare as compare,
    reference_logprobs as reference_logprobs,
)
from .settings import (
    VllmSettings as VllmSettings,
    check_model as check_model,
    longest_sequence as longest_sequence,
)
