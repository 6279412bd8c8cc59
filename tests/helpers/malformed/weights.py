"""Weight files that are no safetensors, or lie about what they hold."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.malformed.given import (
    MATERIALISE,
    PICKLE,
    Case,
    Change,
    as_adapter,
    both,
    tarred,
    write,
    zipped,
)


def _file(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    """A safetensors file with this header, as JSON or as it is."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


def _spec(**changed: object) -> dict[str, object]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changed}


def safetensors() -> Iterator[Case]:
    two = {**_spec(), "v": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}
    gap = {**_spec(), "v": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]}}
    files: dict[str, bytes] = {
        "empty": b"",
        "one byte": b"\x08",
        "seven bytes": bytes(7),
        "no header": bytes(8),
        "a header cut short": _file(_spec(), bytes(8))[:20],
        "data cut short": _file(_spec(), bytes(7)),
        "no data": _file(_spec()),
        "a byte too many": _file(_spec(), bytes(9)),
        "a header of 2**63 bytes": _file(_spec(), bytes(8), 2**63),
        "a header of 2**64 - 1 bytes": _file(_spec(), bytes(8), 2**64 - 1),
        "a header of a terabyte": _file(_spec(), bytes(8), 2**40),
        "a header larger than the file": _file(_spec(), bytes(8), 10_000),
        "a header of no bytes": _file(_spec(), bytes(8), 0),
        "a header that ends too early": _file(_spec(), bytes(8), 10),
        "a header that is not JSON": _file(b"{'w': 1}", bytes(8)),
        "a header that is not text": _file(b"\xff\xfe{}", bytes(8)),
        "a header that is a list": _file([1, 2], bytes(8)),
        "a header that is null": _file(None, bytes(8)),
        "a deep header": _file(b'{"w":' + b"[" * 5000 + b"]" * 5000 + b"}", bytes(8)),
        "a tensor that is a number": _file({"w": 5}),
        "a tensor without dtype": _file({"w": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        "a tensor without shape": _file({"w": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
        "a tensor without offsets": _file({"w": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        "an unknown dtype": _file(_spec(dtype="F1024"), bytes(8)),
        "a dtype that is a number": _file(_spec(dtype=32), bytes(8)),
        "the wrong dtype for its size": _file(_spec(dtype="F64"), bytes(8)),
        "a negative length": _file(_spec(shape=[-2]), bytes(8)),
        "a broken length": _file(_spec(shape=[2.5]), bytes(8)),
        "a text for a length": _file(_spec(shape=["2"]), bytes(8)),
        "a shape of 2**64 elements": _file(_spec(shape=[2**32, 2**32]), bytes(8)),
        "a shape of more than it holds": _file(_spec(shape=[10**12]), bytes(8)),
        "a length of 2**70": _file(_spec(shape=[2**70]), bytes(8)),
        "offsets the wrong way round": _file(_spec(data_offsets=[8, 0]), bytes(8)),
        "negative offsets": _file(_spec(data_offsets=[-8, 0]), bytes(8)),
        "one offset": _file(_spec(data_offsets=[0]), bytes(8)),
        "offsets beyond the file": _file(_spec(data_offsets=[800, 808]), bytes(8)),
        "offsets of 2**70": _file(_spec(data_offsets=[0, 2**70]), bytes(8)),
        "offsets that overlap": _file(two, bytes(12)),
        "offsets with a gap": _file(gap, bytes(24)),
        "tensors on top of each other": _file({**_spec(), "v": _spec()["w"]}, bytes(8)),
        "metadata that is a list": _file({"__metadata__": [1], **_spec()}, bytes(8)),
        "metadata that is nested": _file({"__metadata__": {"a": {}}, **_spec()}, bytes(8)),
        "no tensors": _file({}),
        "only metadata": _file({"__metadata__": {"format": "pt"}}),
        "a pickle": PICKLE,
        "a zip file, as torch.save writes": zipped(),
        "a zip file behind a header": _file(_spec(), bytes(7)) + zipped(),
        "a tar file": tarred(),
        "a gzip file": gzip.compress(_file(_spec(), bytes(8))),
        "a NumPy file": b"\x93NUMPY\x01\x00v\x00" + b" " * 118,
        "a GGUF file": b"GGUF\x03\x00\x00\x00" + bytes(64),
        "a page of HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a program": b"\x7fELF" + bytes(200),
        "text": b"weights go here\n" * 20,
        "zeroes": bytes(100_000),
        "ones": b"\xff" * 100_000,
    }
    for name, content in files.items():
        yield Case(
            f"weights, {name}",
            write("models/math/model.safetensors", content),
            "checkpoint 'math'",
        )
    for name in ("empty", "a header of 2**63 bytes", "a pickle", "offsets that overlap"):
        yield Case(
            f"weights of an adapter, {name}",
            both(as_adapter, write("models/lora/adapter_model.safetensors", files[name])),
            "checkpoint 'math'",
        )
        yield Case(
            f"weights of a recipe's source, {name}",
            write("models/base/model.safetensors", files[name]),
            "checkpoint 'base'",
            MATERIALISE,
        )
    for size, name in ((2**28, "a hostile header that is there"), (2**33, "a huge hole")):
        yield Case(f"weights, {name}", _sparse(size), "checkpoint 'math'")
    for kind in ("F8_E4M3", "F8_E5M2", "F4", "I4", "C64", "E8M0"):
        yield Case(
            f"weights, dtype {kind}",
            write("models/math/model.safetensors", _file(_spec(dtype=kind), bytes(8))),
            "checkpoint 'math'",
        )


def _sparse(size: int) -> Change:
    """A file of this many bytes, nearly all of them a hole, that claims to be one header."""

    def change(folder: Path) -> None:
        with (folder / "models/math/model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", size - 8) + b"{")
            file.truncate(size)

    return change
