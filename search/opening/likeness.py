"""Whether every input, made from coefficients as candidates are, is the model of its own folder.

Whatever a merge does not carry over (a setting, a tensor, an adapter's kind) shows in the logits. Each input is
loaded once by itself, by transformers or peft, beside the live model; what was found equal is remembered by
fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from exme.search.merging import Candidate
from exme.tasks import UserError

if TYPE_CHECKING:
    import torch

    from exme.search.merging.sources import Sources
    from exme.search.scoring import Precision, Worker
    from exme.search.storage import Storage

    from .own_model import OwnModel

MEMORY = "inputs.json"
ELSEWHERE = "Another process is comparing the inputs with their own models; waiting for it."
# Largest difference of logits, as a share of their standard deviation, that is rounding.
EXACT, ROUNDED = 0.01, 0.05
_TEXTS = 32  # prompts of each suite that are looked at
_PROMPTS, _TOKENS = 4, 512  # of them whose logits are compared, and tokens of each


@dataclass(frozen=True)
class Likeness:
    """One input beside its own model.

    Attributes:
        name: of the input.
        off: largest difference of logits over their standard deviation; None where they were not compared.
        reason: why they were not.
        asked: what would be otherwise if it were asked by itself, in a few words each.
    """

    name: str
    off: float | None
    reason: str = ""
    asked: Sequence[str] = ()

    def __str__(self) -> str:
        return (
            f"{self.name} {_percent(self.off)}"
            if self.off is not None
            else f"{self.name} {self.reason}"
        )


def tolerance(worker: Worker) -> float:
    """What is rounding in the dtypes of a study."""
    resident = worker.resident
    exact = "torch.float32" == str(resident.dtype) == str(resident.model.dtype)
    return EXACT if exact else ROUNDED


def likenesses(
    worker: Worker, inputs: Mapping[str, Candidate], note: Callable[[str], None]
) -> Iterator[Likeness]:
    """Compare every input with its own model.

    Args:
        worker: has the live model, which holds one of the inputs afterwards.
        inputs: the base and every checkpoint, as candidates.
        note: says what goes on.
    """
    from .own_model import NotLoaded, OwnModel, live_logits  # noqa: PLC0415  (loads torch)

    sources = worker.resident.sources
    judges = worker.judges("search")
    texts = [text for judge in judges for text in judge.prompts[:_TEXTS]]
    generates = any(judge.longest_answer for judge in judges)
    chats = worker.study.chat.apply_chat_template
    prompts = _prompts(worker, texts)
    for name, candidate in inputs.items():
        note(f"Comparing {name} with its own model")
        source = sources.base if name == "base" else sources.every[name]
        rows = sources.union.rows_of(name) if sources.union is not None else None
        pairs = [_translated(ids, rows) for ids in prompts]
        try:
            with OwnModel(worker.resident, source) as alone:
                worker.take_in(candidate)
                made = live_logits(worker.resident, [ids for ids, _ in pairs])
                off = _distance(worker, alone, made, [ids for _, ids in pairs], rows)
                asked = alone.asked_otherwise(texts, generates=generates, chats=chats)
            found = Likeness(name, off, asked=asked)
        except NotLoaded as reason:
            found = Likeness(name, None, f"was not compared: {reason}")
        yield found


def check_inputs(
    worker: Callable[[], Worker],
    inputs: Mapping[str, Candidate],
    fingerprints: Mapping[str, str],
    storage: Storage,
    folder: Path,
    say: Callable[[str, str], None],
    note: Callable[[str], None],
) -> None:
    """Have every input compared with its own model, once for these files and libraries.

    Args:
        worker: gives the worker, which is made only where something is to be compared.
        inputs: the base and every checkpoint, as candidates.
        fingerprints: of all that decides an input's logits, by input; see `fingerprints_of`.
        storage: the study's; one process of a machine compares.
        folder: the run's, where it is remembered.
        say: writes a line in a style.
        note: says what goes on.

    Raises:
        UserError: an input is another model than its folder's.
    """

    def due() -> dict[str, Candidate]:
        known = _remembered(folder)
        return {name: c for name, c in inputs.items() if known.get(name) != fingerprints[name]}

    if not due():
        return
    with storage.hold("inputs", lambda: say(ELSEWHERE, "")):
        if not due():
            return
        most, compared = tolerance(worker()), []
        for found in likenesses(worker(), due(), note):
            if found.off is None:
                say(f"Input {found}.", "yellow")
            elif not found.off <= most:
                raise UserError(refusal(found, most))
            else:
                compared.append(found)
                if found.asked:
                    say(asked_otherwise(found), "yellow")
        if compared:
            say(
                f"Inputs as their own models, largest difference of logits (at most {most:.0%} of their spread): "
                f"{', '.join(map(str, compared))}.",
                "",
            )
        known = _remembered(folder) | {each.name: fingerprints[each.name] for each in compared}
        partial = folder / f".{MEMORY}.partial"
        partial.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / MEMORY)


def refusal(found: Likeness, most: float) -> str:
    """Why a search with this input does not start."""
    assert found.off is not None
    return (
        f"checkpoint '{found.name}': made from coefficients, it is not the model of its own folder: logits differ by "
        f"up to {_percent(found.off)} of their spread (rounding: at most {most:.0%}). Something there changes what its "
        f"weights mean, and a merge does not carry that over; compare its config.json with the base's, or leave it out"
    )


def asked_otherwise(found: Likeness) -> str:
    """What is to be known of an input that would be asked otherwise by itself."""
    return (
        f"Input {found.name} is asked as all candidates are, with the base's tokenizer and generation settings; by itself, "
        f"{', and '.join(found.asked)}."
    )


def fingerprints_of(sources: Sources, precision: Precision) -> dict[str, str]:
    """What decides whether an input is itself, by input: its files, the base's, dtypes and libraries."""
    libraries = [metadata.version(name) for name in ("torch", "transformers")]
    base = sources.base
    shared = [base.fingerprint, base.settings_fingerprint, *asdict(precision).values(), *libraries]
    found = {}
    for name, source in {"base": base, **sources.checkpoints}.items():
        own = [source.fingerprint, getattr(source, "settings_fingerprint", "")]
        found[name] = hashlib.sha256(json.dumps([*shared, *own]).encode()).hexdigest()
    return found


def _remembered(folder: Path) -> dict[str, str]:
    """Fingerprints of the inputs that were found to be themselves."""
    try:
        known = json.loads((folder / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.1 else f"{share:.0%}"


def _prompts(worker: Worker, texts: Sequence[str]) -> list[torch.Tensor]:
    """The longest of the study's first prompts, as token ids; shape (1, n) each."""
    import torch  # noqa: PLC0415

    longest = sorted(texts, key=len, reverse=True)[:_PROMPTS]
    most = min(_TOKENS, worker.stock.max_length)
    encoded = [worker.stock.tok_encode(text)[-most:] for text in longest]
    return [torch.tensor([ids]) for ids in encoded if ids] or [torch.tensor([[0]])]


def _translated(ids: torch.Tensor, rows: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A prompt in the union's ids and in an input's own, without the tokens that the input lacks.

    Args:
        ids: shape (1, n).
        rows: the input's row for each of the union's, -1 where it has none; None where they are the same.
    """
    if rows is None:
        return ids, ids
    known = ids[:, rows[ids[0]] >= 0]
    known = known if known.numel() else (rows >= 0).nonzero()[:1]
    return known, rows[known]


def _distance(
    worker: Worker,
    alone: OwnModel,
    made: Sequence[torch.Tensor],
    prompts: Sequence[torch.Tensor],
    rows: torch.Tensor | None,
) -> float:
    """How far the live model's logits are from an input's own.

    An adapter's are those of its weights as peft merges them, rounded as a candidate's are, where it is rounding
    that takes them apart: of a LoRA on a real base of 135M in bfloat16, it took 20% of the logits' spread. Where
    merging itself changes what the adapter computes, its own logits stand.
    """
    own = alone.logits(prompts)
    found = _off(made, own, rows)
    if not alone.is_adapter or found <= tolerance(worker):
        return found
    alone.merge()
    if _off(alone.logits(prompts), own, None) > EXACT:
        return found
    alone.round()
    return _off(made, alone.logits(prompts), rows)


def _off(
    made: Sequence[torch.Tensor], own: Sequence[torch.Tensor], rows: torch.Tensor | None
) -> float:
    """Largest difference of logits over the standard deviation of the input's own."""
    import torch  # noqa: PLC0415

    largest, deviation = 0.0, 0.0
    for ours, theirs in zip(made, own, strict=True):
        if rows is not None:
            have = rows >= 0
            ours, theirs = ours[:, : len(rows)][:, have], theirs[:, rows[have]]
        same = (ours == theirs) | (ours.isnan() & theirs.isnan())
        apart = torch.where(same, 0.0, (ours - theirs).abs())
        largest = max(largest, float(apart.nan_to_num(nan=torch.inf).max()))
        deviation = max(deviation, float(theirs.std().nan_to_num()))
    if not largest:
        return 0.0
    return largest / deviation if deviation else float("inf")
