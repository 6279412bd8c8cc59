"""The fast engine: lm-eval's answers, decoded as a search decodes them, on a CPU."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exme.evaluators.fast.attention import shared_prefix_attention
from exme.evaluators.fast.decoding import (
    Decoder,
    Drafter,
    DraftStore,
    Limits,
    Ngrams,
    Row,
    StopStrings,
    Trust,
    document_key,
)
from exme.evaluators.fast.likelihood import Scored, score
from exme.evaluators.fast.memory import measure_budget
from exme.evaluators.fast.profile import Profile
from exme.evaluators.fast.prompts import build_tree
from exme.evaluators.fast.reference import Generation, Reference, Request
from exme.evaluators.fast.support import why_not_greedy, why_not_supported

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prompt:
    """What must be the same for two requests to have the same answer."""

    tokens: tuple[int, ...]
    until: tuple[str, ...]
    most: int


class FastEngine:
    """Answers as `reference` does, sharing prefixes and drafting from earlier candidates.

    Args:
        reference: lm-eval's model over the same weights; it answers what is beyond us.
        drafts: earlier candidates' answers; None keeps them in memory only.

    Attributes:
        profile: where the time went.
        budget: how much fits; halved when memory runs out; absent where there is a fallback.
        fallback: why `reference` answers everything; None where it need not.
    """

    def __init__(self, reference: Reference, drafts: DraftStore | None = None) -> None:
        self._reference = reference
        self._model = reference.model
        self._drafts = DraftStore() if drafts is None else drafts
        self._trust = Trust()
        self._ngrams = Ngrams()
        self._stops: dict[tuple[str, ...], StopStrings] = {}
        self._prompts: dict[tuple[str, int], tuple[int, ...]] = {}
        self._pairs: dict[tuple[str, str], Scored] = {}
        self._said: set[str] = set()
        self.profile = Profile()
        self.fallback = reference.why_not_plain() or why_not_supported(self._model)
        if self.fallback:  # what follows counts on the layers that `support` checks for
            _log.warning("engine: stock, not fast: %s", self.fallback)
            return
        self.budget = measure_budget(self._model, reference.batch_size, reference.max_length)
        self._decoder = Decoder(self._model, self.budget, self.profile)

    def generate_until(self, requests: Sequence[Request]) -> list[str]:
        """See `harness.Engine.generate_until`."""
        reason = self.fallback or why_not_greedy(self._model.generation_config)
        prompts: list[_Prompt] = []
        if not reason:
            with self.profile.clock("tokeniser"):
                reason = self._read(requests, prompts)
        if reason:
            self._say(reason)
            return self._reference.generate_until(list(requests))
        answers = self._decode(list(dict.fromkeys(prompts)))
        return [answers[prompt] for prompt in prompts]

    def loglikelihood(self, requests: Sequence[Request]) -> list[tuple[float, bool]]:
        """See `harness.Engine.loglikelihood`."""
        if self.fallback:
            return self._reference.loglikelihood(list(requests))
        with self.profile.clock("tokeniser"):
            pairs = [self._pair(*request.args) for request in requests]
        if not all(pair.continuation for pair in pairs):
            self._say("an empty continuation")
            return self._reference.loglikelihood(list(requests))
        with shared_prefix_attention(self._model):
            dtype = self._reference.softmax_dtype
            return score(self._model, pairs, self.budget, self.profile, dtype)

    def count_tokens(self, text: str) -> int:
        """See `harness.Engine.count_tokens`."""
        return self._reference.count_tokens(text)

    def _say(self, reason: str) -> None:
        """Say once why the reference answers."""
        if reason not in self._said and reason != self.fallback:
            _log.warning("engine: stock, not fast, for some requests: %s", reason)
        self._said.add(reason)

    def _read(self, requests: Sequence[Request], prompts: list[_Prompt]) -> str | None:
        """Tokenise requests; why the reference must answer them, if it must."""
        settings: dict[str, Generation] = {}
        begun = 0
        bos = self._reference.tokenizer.bos_token
        for request in requests:
            context, asked = request.args
            name = repr(asked)
            if name not in settings:
                settings[name] = self._reference.generation(asked)
                if reason := self._beyond(settings[name]):
                    return reason
            generation = settings[name]
            most = generation.max_new_tokens
            tokens = self._prompt(context, self._reference.max_length - most)
            if not tokens:
                return "an empty prompt"
            begun += bool(bos) and context.startswith(bos)
            prompts.append(_Prompt(tokens, generation.until, most))
        if 0 < begun < len(requests):
            # lm-eval looks at a batch's first prompt to tell whether it is to add one.
            return "only some prompts begin with the beginning-of-sequence token"
        return None

    def _beyond(self, generation: Generation) -> str | None:
        """What a request asks for beyond greedy decoding."""
        until: tuple[Any, ...] = generation.until
        if not all(isinstance(term, str) and term.strip(" ") for term in until):
            # an empty one ends lm-eval's answers at once, a space where it decodes one, beside special tokens too
            return f"until: {list(generation.until)}"
        if not generation.is_greedy:
            return f"generation with {dict(generation.others)}"
        if not 0 < generation.max_new_tokens < self._reference.max_length:
            return f"max_gen_toks: {generation.max_new_tokens}"
        return None

    def _prompt(self, context: str, most: int) -> tuple[int, ...]:
        key = (context, most)
        if key not in self._prompts:
            self._prompts[key] = tuple(self._reference.encode_prompt(context, most))
        return self._prompts[key]

    def _pair(self, context: str, continuation: str) -> Scored:
        key = (context, continuation)
        if key not in self._pairs:
            before, after = self._reference.encode_choice(context, continuation)
            whole = (*before, *after)[-(self._reference.max_length + 1) :]
            self._pairs[key] = Scored(tuple(whole[:-1]), tuple(after))
        return self._pairs[key]

    def _decode(self, prompts: Sequence[_Prompt]) -> dict[_Prompt, str]:
        """Every prompt's answer."""
        with self.profile.clock("drafts"):
            self._drafts.refresh()
            keys = [document_key(p.tokens, p.until, p.most) for p in prompts]
            rows = self._rows(prompts, keys)
        with shared_prefix_attention(self._model):
            self._decoder.run(self._in_order(rows))
        with self.profile.clock("drafts"):
            for row in rows:
                self._drafts.add(keys[row.leaf.index], row.answer)
                self._ngrams.learn_once([tuple(row.answer)])
            self._drafts.save()
        with self.profile.clock("tokeniser"):
            finish = self._reference.finish
            return {
                prompts[row.leaf.index]: finish(row.answer, prompts[row.leaf.index].until)
                for row in rows
            }

    def _rows(self, prompts: Sequence[_Prompt], keys: Sequence[str]) -> list[Row]:
        leaves = build_tree([prompt.tokens for prompt in prompts])
        for leaf in leaves:  # prompts, too, are drafted from
            self._ngrams.learn_once([*(node.tokens for node in leaf.chain), leaf.own])
        answers = [self._drafts.answers(key) for key in keys]
        known = [len(answer) for earlier in answers for answer in earlier]
        for earlier in answers:
            self._ngrams.learn_once(earlier)
        rows = []
        for order, leaf in enumerate(leaves):
            prompt, earlier = prompts[leaf.index], answers[leaf.index]
            expected = max(map(len, earlier), default=max(known, default=prompt.most))
            limits = Limits(self._ends(prompt.until), self._strings(prompt.until), prompt.most)
            drafter = Drafter(earlier, self._ngrams, self._trust)
            rows.append(Row(leaf, order, limits, drafter, min(expected, prompt.most)))
        return rows

    def _in_order(self, rows: Sequence[Row]) -> list[Row]:
        """Rows below one first node together, the longest first: they stand beside their like."""
        place: dict[int, int] = {}
        for row in rows:
            chain = row.leaf.chain
            place.setdefault(id(chain[0]) if chain else 0, row.order)

        def key(row: Row) -> tuple[int, int]:
            chain = row.leaf.chain
            return place[id(chain[0]) if chain else 0], -len(row.leaf.own) - row.expected

        return sorted(rows, key=key)

    def _strings(self, until: tuple[str, ...]) -> StopStrings:
        if until not in self._stops:
            self._stops[until] = StopStrings(self._reference.tokenizer, until)
        return self._stops[until]

    def _ends(self, until: Sequence[str]) -> frozenset[int]:
        """Tokens that end an answer: the model's, the tokeniser's, and special ones that stop."""
        tokenizer = self._reference.tokenizer
        ends: Any = self._model.generation_config.eos_token_id
        found = {ends} if isinstance(ends, int) else set(ends or ())
        names: Mapping[str, int] = dict(
            zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
        )
        found |= {names[term] for term in until if term in names}
        if isinstance(tokenizer.eos_token_id, int):
            found.add(tokenizer.eos_token_id)
        return frozenset(found)
