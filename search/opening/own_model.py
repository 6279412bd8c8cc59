"""An input by itself: what transformers, or peft, loads from its own folder, beside the live model.

And whether it would be asked otherwise than all candidates are: with the base's tokenizer and generation settings.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Iterator, Sequence
from importlib import util
from typing import Any, Self

import psutil
import torch

from exme.evaluators.fast import is_out_of_memory
from exme.evaluators.harness import quiet
from exme.search.merging import NoRoom, ResidentModel, load_model, load_tokenizer, spread
from exme.search.merging.sources import Adapter, Source
from exme.tasks import UserError, one_line

from .cost import size_text

# Generation settings that leave greedy answers as they are, or that lm-eval sets itself.
_HARMLESS = {
    "bos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version", "_from_model_config", "use_cache",
    "max_length", "do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "cache_implementation", "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "num_return_sequences",
}  # fmt: skip
KEPT = 32  # last tokens of a prompt whose logits are compared


class NotLoaded(Exception):
    """An input cannot be loaded beside the live model; says why."""


class OwnModel:
    """A context within which an input's own model is loaded, in the study's dtypes.

    It is on the live model's device, or over all devices where that one has no room for it.

    Raises:
        NotLoaded: peft is not installed, or there is no room.
        UserError: its folder cannot be loaded.
    """

    def __init__(self, resident: ResidentModel, source: Source) -> None:
        self.is_adapter = isinstance(source, Adapter)
        self._resident, self._source = resident, source
        self._size = sum(parameter.nbytes for parameter in resident.model.parameters())

    def __enter__(self) -> Self:
        if self.is_adapter and util.find_spec("peft") is None:
            raise NotLoaded("it is an adapter, and its own model takes peft (pip install peft)")
        free = psutil.virtual_memory().available  # (it is loaded there, wherever it goes then)
        if self._size > 0.9 * free:
            raise NotLoaded(
                f"its own model takes {size_text(self._size)} beside the live one, {size_text(free)} are free"
            )
        with self._room():
            self._model = self._loaded()
            self._place()
        return self

    def __exit__(self, *_: object) -> None:
        self._model = None
        gc.collect()
        if self._resident.device.type == "cuda":
            torch.cuda.empty_cache()  # or the next finds it taken

    def logits(self, prompts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """See `live_logits`."""
        with self._room():
            return [_logits(self._model, ids, self._resident.device) for ids in prompts]

    def asked_otherwise(
        self, texts: Sequence[str], *, generates: bool, chats: bool = False
    ) -> list[str]:
        """How it would be asked by itself, where that is not as candidates are; an adapter generates as its base does.

        Args:
            generates: whether any suite asks for answers.
            chats: whether prompts are put by the chat template.
        """
        resident, source = self._resident, self._source
        found: list[str] = []
        if not self.is_adapter:
            found += otherwise(resident.model, self._model, generates=generates)
        if resident.sources.union is None and any(source.folder.glob("tokenizer*")):
            with contextlib.suppress(UserError):  # (one that cannot be read is not needed, either)
                own = load_tokenizer(source.folder, resident.trust_remote_code)
                found += other_tokens(resident.tokenizer, own, texts)
                found += other_words(resident.tokenizer, own, generates=generates, chats=chats)
        return found

    def merge(self) -> None:
        """Have peft put an adapter's weights into its base's."""
        with self._room():
            self._model = self._model.merge_and_unload()

    def round(self) -> None:
        """Round its weights as a candidate's are."""
        with self._room():
            self._model.to(self._resident.dtype).to(self._resident.model.dtype)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """Within this, what does not fit is left out."""
        try:
            yield
        except (MemoryError, NoRoom, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            self._model = None
            raise NotLoaded(
                f"there is no room for its own model beside the live one ({size_text(self._size)})"
            ) from None

    def _loaded(self) -> Any:
        resident, source = self._resident, self._source
        trusts = resident.trust_remote_code
        if not isinstance(source, Adapter):
            found = load_model(source.folder, resident.dtype, trusts)
            return found.to(resident.model.dtype).eval()  # type: ignore[arg-type]  # transformers' annotation is too narrow
        from peft import PeftModel  # noqa: PLC0415

        base = load_model(resident.sources.base.folder, resident.model.dtype, trusts)
        try:
            with quiet(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # (of peft's dealings with transformers)
                return PeftModel.from_pretrained(base, str(source.folder)).eval()
        except MemoryError:
            raise
        except Exception as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {one_line(str(error))}"
            raise UserError(
                f"checkpoint '{source.name}': peft cannot load {source.folder} on this base ({reason})"
            ) from None

    def _place(self) -> None:
        device = self._resident.device
        if self._resident.is_spread:
            spread(self._model)
        elif device.type != "cpu":
            size = sum(parameter.nbytes for parameter in self._model.parameters())
            if size > 0.9 * torch.cuda.mem_get_info(device)[0]:
                spread(self._model)
            else:
                self._model.to(device)


def live_logits(resident: ResidentModel, prompts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The live model's logits of the last tokens of each prompt, on the CPU; shape (n, vocabulary) each."""
    return [_logits(resident.model, ids, resident.device) for ids in prompts]


def _logits(model: Any, ids: torch.Tensor, device: torch.device) -> torch.Tensor:
    with torch.no_grad():
        found = model(ids.to(device)).logits[0, -KEPT:]
    return found.float().cpu()  # type: ignore[no-any-return]  # transformers is typed by half


def otherwise(model: Any, own: Any, *, generates: bool) -> Iterator[str]:
    """What differs in the generation settings of two models: of an input's own, and the base's in brackets.

    Args:
        model: the live model, with the base's settings.
        own: the input's own.
        generates: whether any suite asks for answers.
    """
    if not generates:
        return
    ours, theirs = (m.generation_config.to_dict() for m in (model, own))
    for key in sorted((ours.keys() | theirs.keys()) - _HARMLESS):
        mine, other = (_plain(settings.get(key)) for settings in (ours, theirs))
        if mine != other:
            yield f"its generation_config has {key}: {other} (the base's: {mine})"


def other_tokens(tokenizer: Any, own: Any, texts: Sequence[str]) -> Iterator[str]:
    """Whether an input's own tokenizer reads prompts otherwise than the base's.

    Args:
        own: the input's.
    """
    pairs = [(tokenizer.encode(text), own.encode(text)) for text in texts]
    differing = sum(ours != theirs for ours, theirs in pairs)
    if differing:
        yield f"its tokenizer makes other tokens of {differing} of {len(texts)} prompts"


def other_words(tokenizer: Any, own: Any, *, generates: bool, chats: bool) -> Iterator[str]:
    """Whether an input's own tokenizer puts conversations, or ends answers, otherwise than the base's.

    Args:
        tokenizer: the base's.
        own: the input's.
        generates: whether any suite asks for answers.
        chats: whether prompts are put by the chat template.
    """
    if generates and tokenizer.eos_token != own.eos_token:
        yield f"answers end at its tokenizer's {own.eos_token!r} (the base's: {tokenizer.eos_token!r})"
    if chats and _in_template(tokenizer) != _in_template(own):
        yield (
            "its tokenizer has another chat template"
            if own.chat_template
            else "its tokenizer has no chat template"
        )


def _in_template(tokenizer: Any) -> str:
    """A conversation as a tokenizer's template puts it; empty where it cannot."""
    said = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    try:
        return str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
    except Exception:  # noqa: BLE001  (a template may raise any)
        return ""


def _plain(value: Any) -> Any:
    """One value and a list of it are the same to transformers."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
