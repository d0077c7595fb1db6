"""Files nobody should send: written byte by byte, so that none of them has to exist in memory first."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import onnx
from onnx import TensorProto, helper

VERSION = [helper.make_opsetid("", 17)]


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def block(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def info(name: str, shape: list[int | str] | None = None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [2, 4] if shape is None else shape)


def graph(
    nodes: list[onnx.NodeProto], initial: list[onnx.TensorProto] | None = None, out: str = "y"
) -> onnx.GraphProto:
    return helper.make_graph(nodes, "g", [info("x")], [info(out)], initial or [])


def model(
    nodes: list[onnx.NodeProto], initial: list[onnx.TensorProto] | None = None, out: str = "y"
) -> onnx.ModelProto:
    return helper.make_model(graph(nodes, initial, out), opset_imports=VERSION)


def relu(source: str = "x", out: str = "y") -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [out])


def claiming(dims: list[int], raw: bytes = b"\0" * 16) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims)
    tensor.raw_data = raw
    return tensor


def external(location: str, dims: list[int], **facts: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **facts}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def adding(tensor: onnx.TensorProto) -> bytes:
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor]).SerializeToString()


def cyclic() -> bytes:
    return model([helper.make_node("Add", ["x", "b"], ["a"]), relu("a", "b"), relu("b")]).SerializeToString()


def twice() -> bytes:
    return model([relu(), relu()]).SerializeToString()


def million_nodes(path: Path) -> None:
    node = block(1, relu("x", "x").SerializeToString())
    opset = block(8, VERSION[0].SerializeToString())
    with path.open("wb") as stream:
        stream.write(b"\x08\x08" + opset + varint(7 << 3 | 2) + varint(len(node) * 10**6))
        for _ in range(100):
            stream.write(node * 10**4)


def million(field: int, payload: bytes) -> Callable[[Path], None]:
    """A graph of a million entries of another sort."""

    def write(path: Path) -> None:
        entry = block(field, payload)
        with path.open("wb") as stream:
            stream.write(b"\x08\x08" + varint(7 << 3 | 2) + varint(len(entry) * 10**6))
            for _ in range(100):
                stream.write(entry * 10**4)

    return write


def huge(path: Path) -> None:
    """A sparse file of 3 GB whose graph claims all of it."""
    with path.open("wb") as stream:
        stream.write(b"\x08\x08" + varint(7 << 3 | 2) + varint(3 * 2**30))
        stream.truncate(3 * 2**30)


def zeros(path: Path) -> None:
    """Nearly 2 GB of nothing."""
    with path.open("wb") as stream:
        stream.truncate(2**31 - 2)


def nested(depth: int) -> bytes:
    """``If`` in ``If`` in ``If`` …"""
    inner = helper.make_graph([relu("x", "z")], "leaf", [], [info("z")]).SerializeToString()
    for _ in range(depth):
        branches = b"".join(
            block(5, block(1, name) + varint(20 << 3) + b"\x05" + block(6, inner))
            for name in (b"then_branch", b"else_branch")[:1]
        )
        node = block(1, b"c") + block(2, b"z") + block(4, b"If") + branches
        inner = block(1, node) + block(2, b"g") + block(12, info("z").SerializeToString())
    return b"\x08\x08" + block(8, VERSION[0].SerializeToString()) + block(7, inner)


def functions(levels: int, calls_each: int = 2) -> bytes:
    """Each function calls the next one so often: calls^levels nodes when spelled out."""
    made = []
    for level in range(levels):
        inner = "Relu" if level == levels - 1 else f"f{level + 1}"
        domain = "" if level == levels - 1 else "own"
        names = ["a", *(f"t{i}" for i in range(calls_each - 1)), "c"]
        calls = [helper.make_node(inner, [a], [b], domain=domain) for a, b in pairwise(names)]
        made.append(
            helper.make_function("own", f"f{level}", ["a"], ["c"], calls, [*VERSION, helper.make_opsetid("own", 1)])
        )
    outer = graph([helper.make_node("f0", ["x"], ["y"], domain="own")])
    return helper.make_model(
        outer, opset_imports=[*VERSION, helper.make_opsetid("own", 1)], functions=made
    ).SerializeToString()


def recursive() -> bytes:
    """A function that calls itself."""
    own = [*VERSION, helper.make_opsetid("own", 1)]
    body = [helper.make_node("f", ["a"], ["c"], domain="own")]
    made = helper.make_function("own", "f", ["a"], ["c"], body, own)
    outer = graph([helper.make_node("f", ["x"], ["y"], domain="own")])
    return helper.make_model(outer, opset_imports=own, functions=[made]).SerializeToString()


def doubling(count: int) -> bytes:
    """Each Concat doubles the tensor: 2^count elements."""
    nodes = [helper.make_node("Concat", [f"t{i}"] * 2, [f"t{i + 1}"], axis=0) for i in range(count)]
    return model([relu("x", "t0"), *nodes], out=f"t{count}").SerializeToString()


def old() -> bytes:
    made = model([relu()])
    made.opset_import[0].version = 5
    return made.SerializeToString()


def endless_loop() -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), relu("s", "t")], "body",
        [info("i", [], TensorProto.INT64), info("c", [], TensorProto.BOOL), info("s")], [info("d", [], TensorProto.BOOL), info("t")],
    )  # fmt: skip
    rounds = helper.make_tensor("n", TensorProto.INT64, [], [2**62])
    return model([helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)], [rounds]).SerializeToString()


good = model([relu()]).SerializeToString()
pickled = b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x03ls \x94\x85\x94R\x94."

# name → (bytes or a writer, what the message says)
REFUSED: dict[str, tuple[bytes | Callable[[Path], None], str]] = {
    "empty": (b"", "is empty"), "text": (b"import torch\n" * 20, "no ONNX model"), "zip": (b"PK\x03\x04" + b"\0" * 100, "no ONNX model"),
    "pickle": (pickled, "no ONNX model"), "half": (adding(claiming([2, 4], b"\0" * 32))[:-20], "cut short"),
    "claims gigabytes": (adding(claiming([2**30, 4])), "damaged"),
    "claims petabytes": (adding(claiming([2**40, 2**20])), "claims"), "negative sizes": (adding(claiming([-4])), "at least 0"),
    "leaves the folder": (adding(external("../../etc/passwd", [2, 4])), "own folder"),
    "absolute path": (adding(external("/etc/passwd", [2, 4])), "own folder"),
    "windows path": (adding(external("C:\\secrets", [2, 4])), "own folder"),
    "external length": (adding(external("w.bin", [2, 4], length="99")), "32 bytes"),
    "external offset": (adding(external("w.bin", [2, 4], offset="-8")), "32 bytes"),
    "cyclic": (cyclic(), "cycles"), "made twice": (twice(), "two nodes make"),
    "million nodes": (million_nodes, "nodes"), "million tensors": (million(5, b"\x08\x01"), "tensors"),
    "million inputs": (million(11, b"\x0a\x01x"), "values"), "3 GB": (huge, "external data"), "2 GB of zeros": (zeros, "no ONNX model"),
    "nested 20": (nested(20), "nested deeper"), "nested 300": (nested(300), "nested deeper"),
    "exploding functions": (functions(30), "deeper"), "exploding calls": (functions(10, 4), "spells out"), "recursive": (recursive(), "deeper"),
    "old opset": (old(), "opset 5"),
}  # fmt: skip
# name → (bytes, operators it lists as unknown)
UNKNOWN: dict[str, tuple[bytes, str]] = {
    "endless loop": (endless_loop(), "Loop"),
    "unknown operator": (
        model([helper.make_node("Frobnicate", ["x"], ["y"], domain="own.ops")]).SerializeToString(),
        "own.ops::Frobnicate",
    ),
}
