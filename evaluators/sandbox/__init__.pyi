from .code_eval import CodeEval as CodeEval
from .run import (
    GeneratedCodeRefused as GeneratedCodeRefused,
    Limits as Limits,
    Sandbox as Sandbox,
    SandboxUnavailable as SandboxUnavailable,
    Verdict as Verdict,
    processors as processors,
    require_run_generated_code as require_run_generated_code,
    run_many as run_many,
    shared_sandbox as shared_sandbox,
)
