"""Hostile safetensors headers and indexes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .harness import Case, refused


def of(header: Any, data: int = 0, length: int | None = None) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        with path.open("wb") as stream:
            stream.write(struct.pack("<Q", len(text) if length is None else length) + text)
            stream.truncate(8 + len(text) + data)

    return build


def one(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changes}}


def millions() -> bytes:
    return b"{" + b",".join([b'"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'] * 1_000_000) + b"}"


def index(weight_map: Any) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        (path.parent / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        of(one(), 16)(path)
        path.rename(path.parent / "model-1.safetensors")
        path.parent.joinpath("x.safetensors").symlink_to(path.parent / "model-1.safetensors")

    return build


TWICE = (
    b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}'
)
CASES = [
    Case("empty", lambda p: p.write_bytes(b""), "0 bytes"),
    Case("seven bytes", lambda p: p.write_bytes(b"\1" * 7), "7 bytes"),
    Case("an exabyte claimed", of(b"{}", length=2**62), "header"),
    Case("a gigabyte claimed and there", lambda p: of(b"", 2**31, 2**30)(p), "header"),
    Case("100 MB of zeros", lambda p: of(b"", 10**8, 10**8)(p), "json"),
    Case("no JSON", of(b"GGUF" * 10), "json"),
    Case("not UTF-8", of(b'{"\xff":{}}'), "utf-8"),
    Case("a list", of([1, 2, 3]), "list"),
    Case("deep", of(b'{"a":' * 200_000), "deep"),
    Case("deep lists", of(b'{"a":' + b"[" * 5_000_000), "deep"),
    Case("a number of a million digits", of(b'{"a":' + b"9" * 1_000_000 + b"}"), "json"),
    Case("a million tensors", of(millions(), 4_000_000), "tensors"),
    Case("no offsets", of({"a": {"dtype": "F32", "shape": [4]}}, 16), "offsets"),
    Case("offsets behind the file", of(one(data_offsets=[0, 2**60], shape=[2**58]), 16), "shape"),
    Case("backward offsets", of(one(data_offsets=[16, 0]), 16), "offsets"),
    Case("overlapping", of(one() | {"b": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}, 24), "one after"),
    Case("a hole", of(one(data_offsets=[16, 32]), 32), "one after"),
    Case("a name twice", of(TWICE, 32), "one after"),
    Case("sizes that do not fit", of(one(shape=[5]), 16), "elements"),
    Case("a negative size", of(one(shape=[-4]), 16), "shape"),
    Case("a shape of lists", of(one(shape=[[4]]), 16), "shape"),
    Case("a thousand dimensions", of(one(shape=[1] * 1000 + [4]), 16), "dimensions"),
    Case("a dtype of tomorrow", of(one(dtype="F1"), 16), "dtype"),
    Case("a dtype that is a list", of(one(dtype=["F32"] * 100_000), 16), "dtype"),
    Case("an entry that is text", of({"a": "x" * 1000}, 16), "object"),
    Case("an index upwards", index({"a": "../../etc/passwd"}), "beside"),
    Case("an absolute index", index({"a": "/etc/passwd"}), "beside"),
    Case("an index of numbers", index({"a": 7}), "weight_map"),
    Case("an index of many files", index({f"t{i}": f"m{i}.safetensors" for i in range(50_000)}), "files"),
    Case("a layer of a billion", of({"model.layers.99999.self_attn.q_proj.weight": one()["a"]}, 16), "config.json"),
]  # fmt: skip


def test_hostile_files(tmp_path: Path) -> None:
    refused(CASES, tmp_path, ".safetensors")
