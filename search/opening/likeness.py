"""Whether every input, made from coefficients as candidates are, is the model of its own folder.

Whatever a merge does not carry over (a setting, a tensor, an adapter's kind) shows in the logits. Each input is
loaded once by itself, by transformers or peft, beside the live model; what was found equal is remembered by
fingerprint.
"""

from __future__ import annotations

import gc
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from exme.search.merging import Candidate
from exme.search.merging.sources import Adapter, Source
from exme.tasks import UserError

if TYPE_CHECKING:
    import torch

    from exme.search.merging.sources import Sources
    from exme.search.scoring import Precision, Worker
    from exme.search.storage import Storage

MEMORY = "inputs.json"
ELSEWHERE = "Another process is comparing the inputs with their own models; waiting for it."
# Largest difference of logits, as a share of their standard deviation, that is rounding.
EXACT, ROUNDED = 0.01, 0.05
_PROMPTS, _TOKENS, _KEPT = 4, 512, 32  # prompts, and tokens of each: read, and compared


@dataclass(frozen=True)
class Likeness:
    """One input beside its own model.

    Attributes:
        name: of the input.
        off: largest difference of logits over their standard deviation; None where they were not compared.
        reason: why they were not.
    """

    name: str
    off: float | None
    reason: str = ""

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
    sources = worker.resident.sources
    prompts = _prompts(worker)
    for name, candidate in inputs.items():
        note(f"Comparing {name} with its own model")
        source = sources.base if name == "base" else sources.every[name]
        reason = _obstacle(worker, source)
        if reason:
            yield Likeness(name, None, f"was not compared: {reason}")
            continue
        rows = sources.union.rows_of(name) if sources.union is not None else None
        pairs = [_translated(ids, rows) for ids in prompts]
        worker.take_in(candidate)
        made = [_logits(worker.resident.model, ids, worker.resident.device) for ids, _ in pairs]
        model = _own_model(worker, source)
        own = [_logits(model, ids, worker.resident.device) for _, ids in pairs]
        if isinstance(source, Adapter) and _off(made, own, rows) > tolerance(worker):
            own = list(_rounded(worker, model, own, [ids for _, ids in pairs]))
        del model
        gc.collect()
        yield Likeness(name, _off(made, own, rows))


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


def fingerprints_of(sources: Sources, precision: Precision) -> dict[str, str]:
    """What decides whether an input is itself, by input: its files, the base's, dtypes and libraries.

    Args:
        sources: base and checkpoints.
        precision: dtypes and device.
    """
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


def _prompts(worker: Worker) -> list[torch.Tensor]:
    """The longest of the study's first prompts, as token ids; shape (1, n) each."""
    import torch  # noqa: PLC0415

    texts = [text for judge in worker.judges("search") for text in judge.prompts[:32]]
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


def _obstacle(worker: Worker, source: Source) -> str:
    """Why an input cannot be loaded by itself; empty where it can."""
    if isinstance(source, Adapter) and util.find_spec("peft") is None:
        return "it is an adapter, and its own model takes peft (pip install peft)"
    needed = sum(parameter.nbytes for parameter in worker.resident.model.parameters())
    free = psutil.virtual_memory().available
    if needed > 0.9 * free:
        return f"its own model takes {needed / 2**30:.1f} GB beside the live one, {free / 2**30:.1f} GB are free"
    return ""


def _own_model(worker: Worker, source: Source) -> Any:
    """An input as transformers, or peft, loads it, in the study's dtypes; on the device, or where there is room."""
    import torch  # noqa: PLC0415

    from exme.evaluators.harness import quiet  # noqa: PLC0415
    from exme.search.merging import load_model, spread  # noqa: PLC0415

    resident = worker.resident
    trusts = resident.trust_remote_code
    if isinstance(source, Adapter):
        from peft import PeftModel  # noqa: PLC0415

        base = load_model(resident.sources.base.folder, resident.model.dtype, trusts)
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # (of peft's dealings with transformers)
            model: Any = PeftModel.from_pretrained(base, str(source.folder))
    else:
        model = load_model(source.folder, resident.dtype, trusts).to(resident.model.dtype)  # type: ignore[arg-type]  # transformers' annotation is too narrow
    model.eval()
    size = sum(parameter.nbytes for parameter in model.parameters())
    if resident.device.type == "cpu":
        return model
    if resident.is_spread or size > 0.9 * torch.cuda.mem_get_info(resident.device)[0]:
        spread(model)
        return model
    return model.to(resident.device)


def _rounded(
    worker: Worker, model: Any, own: list[torch.Tensor], prompts: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """An adapter's logits with its weights merged by peft and rounded as a candidate's are.

    Of a LoRA on a real base of 135M in bfloat16, rounding took 20% of the logits' spread. Where merging itself
    changes what the adapter computes, its own logits stand.
    """
    resident = worker.resident
    merged = model.merge_and_unload()
    if _off([_logits(merged, ids, resident.device) for ids in prompts], own, None) > EXACT:
        return own
    merged = merged.to(resident.dtype).to(resident.model.dtype)
    return [_logits(merged, ids, resident.device) for ids in prompts]


def _logits(model: Any, ids: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Logits of the last tokens, on the CPU; shape (n, vocabulary)."""
    import torch  # noqa: PLC0415

    with torch.no_grad():
        found = model(ids.to(device)).logits[0, -_KEPT:]
    return found.float().cpu()  # type: ignore[no-any-return]  # transformers is typed by half


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
