"""What our versions of lm-eval's model classes share: prompts are tokenised once, and progress is not told."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance

from .noise import quiet


class Remembering:
    """Stands before one of lm-eval's model classes, whose methods it calls.

    The prompts of a study never change, so each is tokenised at its first use only.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._encoded: dict[tuple[Any, ...], list[int]] = {}
        with quiet():
            super().__init__(*arguments, **settings)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """See `Engine.generate_until`."""
        own: Any = super()
        with quiet():
            answers: list[str] = own.generate_until(requests, disable_tqdm=disable_tqdm)
        return answers

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """See `Engine.loglikelihood`."""
        own: Any = super()
        with quiet():
            found: list[tuple[float, bool]] = own.loglikelihood(requests, disable_tqdm=disable_tqdm)
        return found

    def tok_encode(self, string: Any, *arguments: Any, **settings: Any) -> Any:
        """Token ids of a string, or of each of several."""
        if not isinstance(string, str):
            return [self.tok_encode(each, *arguments, **settings) for each in string]
        key = (string, arguments, tuple(sorted(settings.items())))
        if key not in self._encoded:
            own: Any = super()
            self._encoded[key] = own.tok_encode(string, *arguments, **settings)
        return list(self._encoded[key])

    def count_tokens(self, text: str) -> int:
        """See `Engine.count_tokens`."""
        return len(self.tok_encode(text, add_special_tokens=False))
