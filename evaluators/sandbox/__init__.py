"""Generated programs, run where they can do no harm; docs/sandbox.md says why and how far.

Its processes have Python's own library alone, so that nothing here is loaded lazily.
"""

from .code_eval import CodeEval
from .run import (
    GeneratedCodeRefused,
    Limits,
    Sandbox,
    SandboxUnavailable,
    Verdict,
    processors,
    require_run_generated_code,
    run_many,
    shared_sandbox,
)

__all__ = [
    "CodeEval",
    "GeneratedCodeRefused",
    "Limits",
    "Sandbox",
    "SandboxUnavailable",
    "Verdict",
    "processors",
    "require_run_generated_code",
    "run_many",
    "shared_sandbox",
]
