"""Hostile archives of PyTorch: exported programs, pickles. What passes the reader is refused by the replay."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speedlight._foundation.errors import BadFile, SpeedlightError, Unsupported
from speedlight.frontends.pt2 import load_program

from .harness import Case, refused

MARK = "SPEEDLIGHT_HOSTILE_RAN"


class Bomb:
    """Runs when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {MARK}",))


def meta(*sizes: int, dtype: int = 7) -> dict[str, Any]:
    return {"dtype": dtype, "sizes": [{"as_int": n} for n in sizes], "requires_grad": False, "strides": []}


def call(target: str, *outputs: str, **arguments: Any) -> dict[str, Any]:
    """A call; an argument is ``(kind, value)``, or the name of a tensor."""
    inputs = [
        {"name": k, "arg": {"as_tensor": {"name": v}} if isinstance(v, str) else {v[0]: v[1]}}
        for k, v in arguments.items()
    ]
    return {"target": target, "inputs": inputs, "outputs": [{"as_tensor": {"name": o}} for o in outputs]}


def program(nodes: list[Any], values: dict[str, Any] | None = None, output: str = "x", **more: Any) -> dict[str, Any]:
    return {
        "graph_module": {
            "graph": {"inputs": [{"as_tensor": {"name": "x"}}], "outputs": [{"as_tensor": {"name": output}}],
                      "nodes": nodes, "tensor_values": {"x": meta(2, 8), **(values or {})}},
            "signature": {"input_specs": [{"user_input": {"arg": {"as_tensor": {"name": "x"}}}}], "output_specs": []},
        },
        "schema_version": {"major": 8, "minor": 0}, **more,
    }  # fmt: skip


RELU = call("torch.ops.aten.relu.default", "y", self="x")


def archive(
    data: Any, name: str = "m/models/model.json", compression: int = zipfile.ZIP_DEFLATED
) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        content = data() if callable(data) else data
        with zipfile.ZipFile(path, "w", compression) as z:
            z.writestr(name, content if isinstance(content, (bytes, str)) else json.dumps(content))

    return build


def lying(stated: int) -> Callable[[Path], None]:
    """An archive whose directory states another size for its program."""

    def build(path: Path) -> None:
        archive(b" " * 1000)(path)
        data = bytearray(path.read_bytes())
        at = data.rfind(b"PK\x01\x02")
        struct.pack_into("<I", data, at + 24, stated)
        path.write_bytes(data)

    return build


def huge_directory(path: Path) -> None:
    """An end record that claims a directory of 3 GB, in a hole."""
    with path.open("wb") as stream:
        stream.write(b"PK\x03\x04")
        stream.truncate(3 * 2**30)
        stream.seek(3 * 2**30)
        stream.write(struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, 3 * 2**30 - 10, 4, 0))


def many_members(path: Path) -> None:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    body = entry * 300_000
    path.write_bytes(body + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, len(body), 0, 0))


def truncated(path: Path) -> None:
    archive(program([RELU]))(path)
    path.write_bytes(path.read_bytes()[:-30])


def two(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as z:
        for name in ("a", "b"):
            z.writestr(f"m/models/{name}.json", "{}")


def million_calls() -> bytes:
    return (
        json.dumps(program([]))
        .replace('"nodes": []', '"nodes": [' + ",".join([json.dumps(RELU)] * 1_000_000) + "]")
        .encode()
    )


CASES = [
    Case("empty", lambda p: p.write_bytes(b""), "zip"),
    Case("no zip", lambda p: p.write_bytes(b"x" * 1000), "zip"),
    Case("a pickle", lambda p: p.write_bytes(pickle.dumps(Bomb())), "zip"),
    Case("truncated", truncated, "zip"),
    Case("no program", archive(b"x", "m/data.pkl"), "exported program"),
    Case("two programs", two, "2 programs"),
    Case("a bomb", archive(lambda: b" " * 2**28), "unpacks"),
    Case("a directory that lies", lying(2**31), "unpacks"),
    Case("a directory that lies smaller", lying(10), ""),
    Case("a directory of 3 GB", huge_directory, "directory"),
    Case("300,000 members", many_members, "directory"),
    Case("no JSON", archive(b"\x80\x04"), "read"),
    Case("not UTF-8", archive(b'{"graph_module": "\xff"}'), "read"),
    Case("deep", archive(lambda: b'{"graph_module":' * 200_000), "deep"),
    Case("deep in what is skipped", archive(lambda: b'{"x":' + b"[" * 3_000_000), ""),
    Case("a list", archive([1]), "read"),
    Case("calls of text", archive(program(["relu"])), "read"),
    Case("a schema of tomorrow", archive(program([RELU], schema_version={"major": 99, "minor": 0})), "schema 99"),
    Case("a million calls", archive(million_calls, compression=zipfile.ZIP_STORED), "calls"),
]


def test_hostile_archives(tmp_path: Path) -> None:
    refused(CASES, tmp_path, ".pt2")
    assert not list(tmp_path.rglob(MARK))
    assert not Path(MARK).exists()


OTHERS = [
    Case("state dict", archive(pickle.dumps(Bomb()), "m/data.pkl"), "pickle"),
    Case("old state dict", lambda p: p.write_bytes(pickle.dumps(Bomb())), "pickle"),
    Case("a program", archive(program([RELU])), "rename"),
    Case("a zip of something", archive(b"x", "readme.txt"), "zip"),
    Case("a text", lambda p: p.write_text("hello"), "begins with"),
    Case("nothing", lambda p: p.write_bytes(b""), "begins with"),
    Case("300,000 members", many_members, "directory"),
]


@pytest.mark.parametrize("ending", [".pt", ".bin"])
def test_other_files_of_pytorch(ending: str, tmp_path: Path) -> None:
    refused(OTHERS, tmp_path, ending)
    assert not list(tmp_path.rglob(MARK))
    assert not Path(MARK).exists()


SIZES = {"name": "size", "arg": {"as_ints": [2**40]}}
REPLAYED: list[tuple[str, dict[str, Any], str]] = [
    ("a custom operator", program([call("torch.ops.evil.run.default", "y", self="x")]), "aten"),
    ("a Python function", program([call("os.system", "y", command=("as_string", f"touch {MARK}"))]), "aten"),
    ("a builtin", program([call("builtins.eval", "y", source=("as_string", "1"))]), "aten"),
    ("a private attribute", program([call("torch.ops.aten.__class__.mro", "y", self="x")]), "aten"),
    ("a file", program([call("torch.ops.aten.from_file.default", "y", filename=("as_string", MARK), shared=("as_bool", True),
                             size=("as_int", 8))]), "aten"),
    ("no such operator", program([call("torch.ops.aten.nosuch.default", "y", self="x")]), "aten"),
    ("no such argument", program([call("torch.ops.aten.relu.default", "y", other="x")]), "argument"),
    ("a name nothing made", program([call("torch.ops.aten.relu.default", "y", self="z")]), "before anything made it"),
    ("a cycle", program([call("torch.ops.aten.relu.default", "y", self="y")]), "before anything made it"),
    ("another shape", program([RELU], {"y": meta(3, 8)}, "y"), "the file says"),
    ("a trillion tensors", program([
        call("torch.ops.aten.new_zeros.default", "y", self="x", size=("as_ints", [2**33])),
        {**call("torch.ops.aten.unbind.int", self="y"), "outputs": [{"as_tensors": []}]}]), "tensors"),
    ("a trillion pieces", program([
        call("torch.ops.aten.new_zeros.default", "y", self="x", size=("as_ints", [2**33])),
        {**call("torch.ops.aten.split.Tensor", self="y", split_size=("as_int", 1)), "outputs": [{"as_tensors": []}]}]),
     "tensors"),
    ("numbers that grow", program([
        {**call("_operator.mul", a=("as_int", 2**40), b=("as_int", 2**40)), "outputs": [{"as_sym_int": {"as_name": "n"}}]}]),
     "bits"),
    ("a dtype of tomorrow", program([RELU], {"x": meta(2, 8, dtype=99)}), "type"),
    ("a negative size", program([RELU], {"x": meta(-2, 8)}), "size"),
    ("code for a size", program([RELU], {"x": {**meta(2, 8), "sizes": [{"as_expr": {"expr_str": "__import__('os')"}}]}}),
     "size"),
    ("shapes that do not fit", program([call("torch.ops.aten.mm.default", "y", self="x", mat2="x")]), "do not fit"),
    ("a number that depends on data", program([
        {**call("torch.ops.aten.item.default", self="x"), "outputs": [{"as_sym_int": {"as_name": "n"}}]}]), ""),
    ("nothing to do", program([]), "computes nothing"),
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize(("name", "content", "says"), REPLAYED, ids=[r[0] for r in REPLAYED])
def test_hostile_programs(name: str, content: dict[str, Any], says: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    archive(content)(tmp_path / "x.pt2")
    with pytest.raises(SpeedlightError) as caught:
        load_program(str(tmp_path / "x.pt2"))
    assert says in str(caught.value)
    assert isinstance(caught.value, (BadFile, Unsupported)) or name == "nothing to do"
    assert not Path(MARK).exists()


@pytest.mark.torch
def test_a_huge_tensor_takes_no_memory(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    huge = program([RELU], {"x": meta(2**20, 2**20)}, "y")
    archive(huge)(tmp_path / "x.pt2")
    assert load_program(str(tmp_path / "x.pt2")).attrs["static"] == ("batch",)
