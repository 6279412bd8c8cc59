"""Where the tensors of a model's files lie in an engine's parameters, found out by loading.

An engine fuses and shards what it reads: queries, keys and values are rows of one parameter, of which each worker
holds some. Which element belongs to which tensor is told by the model's own loading: every tensor is loaded full of
its number, and the parameters then say where it went. No table of names is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

# A model's own loading of tensors by the names that files use.
Load = Callable[[Iterable[tuple[str, torch.Tensor]]], object]

# Numbers are loaded digit by digit: whole numbers up to here are exact in bfloat16.
_DIGIT = 128
_UNTOUCHED = -1.0
# More pieces than this in one parameter, and a candidate in place is no faster than one that is loaded.
_MOST_SPANS = 4096
_AT_ONCE = 2**24  # elements that are looked at, which takes eight bytes for each


class Unmappable(ValueError):
    """Tensors of files are not parts of parameters: they are computed with as they are loaded, or have no place."""


@dataclass(frozen=True)
class Span:
    """Consecutive elements of a parameter that belong to one tensor.

    Attributes:
        tensor: its name in files.
        start: first element in the flat parameter; `stop` is one behind the last.
    """

    tensor: str
    start: int
    stop: int

    def within(self, part: slice) -> slice:
        """What of this span lies in a part, counted from the part's start; empty where nothing does."""
        start, stop = max(self.start, part.start), min(self.stop, part.stop)
        return slice(start - part.start, max(start, stop) - part.start)


def live_parameters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Floating-point parameters, each once, by the model's own names.

    Raises:
        Unmappable: a layer holds its weights in another form, too, or only.
    """
    found: dict[int, tuple[str, torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.numel():
            raise Unmappable(f"'{name}' is packed by its layer")
        if not parameter.is_contiguous():
            raise Unmappable(f"'{name}' is not contiguous")
        if parameter.is_floating_point():
            found.setdefault(parameter.data_ptr(), (name, parameter.data))
    for module_name, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor) and value.numel() > 1 and name != "kv_cache":
                raise Unmappable(f"'{module_name}.{name}' may be computed from weights")
    return dict(found.values())


def find_spans(
    live: Mapping[str, torch.Tensor], shapes: Mapping[str, Sequence[int]], load: Load
) -> dict[str, list[Span]]:
    """The tensors in every parameter. What is in the parameters is overwritten.

    Args:
        live: the parameters, by the model's own names.
        shapes: of the floating-point tensors in the model's files, by name.
        load: the model's own loading, into `live`.

    Raises:
        Unmappable: loading does more than to put tensors into parameters.
    """
    names = sorted(shapes)
    if len(names) > _DIGIT**2:
        raise Unmappable(f"{len(names)} tensors")
    low = _load_digit(live, names, shapes, load, 1)
    high = _load_digit(live, names, shapes, load, _DIGIT)
    spans = {p: list(_spans(low[p], high[p], live[p].numel(), names)) for p in live}
    seen = {span.tensor for found in spans.values() for span in found}
    if missing := [name for name in names if name not in seen]:
        raise Unmappable(f"tensor '{missing[0]}' has no place in the parameters")
    return spans


# The values in a flat parameter by the element from which on they stand.
Runs = Mapping[int, float]


def _load_digit(
    live: Mapping[str, torch.Tensor],
    names: Sequence[str],
    shapes: Mapping[str, Sequence[int]],
    load: Load,
    place: int,
) -> dict[str, Runs]:
    """Load every tensor full of one digit of its number, plus 1, and see where it went."""
    for values in live.values():
        values.fill_(_UNTOUCHED)
    load(
        (name, torch.full((1,), 1.0 + i // place % _DIGIT).expand(tuple(shapes[name])))
        for i, name in enumerate(names)
    )
    return {parameter: _runs(values.reshape(-1)) for parameter, values in live.items()}


def _runs(flat: torch.Tensor) -> Runs:
    runs: dict[int, float] = {}
    start, last = 0, None
    for piece in flat.split(_AT_ONCE):
        found, counts = torch.unique_consecutive(piece, return_counts=True)
        if len(found) > _MOST_SPANS:
            raise Unmappable("tensors are interleaved in a parameter")
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            if value not in (_UNTOUCHED, 0.0) and not (
                value == int(value) and 1 <= value <= _DIGIT
            ):
                raise Unmappable("tensors are computed with as they are loaded")
            if value != last:
                runs[start], last = value, value
            start += count
    return runs


def _spans(low: Runs, high: Runs, size: int, names: Sequence[str]) -> Iterator[Span]:
    """Put the digits together; what pads a vocabulary is untouched, or filled with zeros, and belongs to none."""
    starts = sorted({*low, *high})
    units, tens = 0.0, 0.0
    for start, stop in itertools.pairwise([*starts, size]):
        units, tens = low.get(start, units), high.get(start, tens)
        if units > 0 and tens > 0:
            yield Span(names[int(units - 1 + _DIGIT * (tens - 1))], start, stop)
