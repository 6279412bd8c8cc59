"""Generated programs, run where they can do no harm; docs/sandbox.md says why and how far."""

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
