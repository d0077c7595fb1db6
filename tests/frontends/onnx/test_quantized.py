"""QDQ patterns, QLinear operators and packed weights: which formats are read, multiplied and written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from speedlight._foundation.expr import evaluate
from speedlight.graph.ir import Graph, Op

from .building import file, formats, node, only, ops, read, single, weight

SCALES = [single("s", np.float32(0.1)), single("zu", np.uint8(128)), single("zi", np.int8(0))]


def q(source: str, out: str, zero: str = "zu") -> object:
    return node("QuantizeLinear", [source, "s", zero], [out])


def dq(source: str, out: str, zero: str = "zu") -> object:
    return node("DequantizeLinear", [source, "s", zero], [out])


def unit(op: Op) -> str:
    return next(w.format for w in op.work if w.unit == "matmul")


def weights_read(graph: Graph, op: Op) -> float:
    tensors = [graph.tensor(graph.blocks[0], r.tensor) for r in op.reads]
    return sum(float(evaluate(t.bytes, {})) for t in tensors if t.cls == "weight")


def test_a_convolution_between_pairs_is_an_int8_kernel(tmp_path: Path) -> None:
    nodes = [
        q("x", "xq"), dq("xq", "xd"), dq("w", "wd", "zi"), dq("b", "bd", "zb"), node("Conv", ["xd", "wd", "bd"], ["c"]),
        q("c", "cq"), dq("cq", "y"),
    ]  # fmt: skip
    initial = [
        *SCALES,
        weight("w", 4, 3, 3, 3, dtype=np.int8),
        weight("b", 4, dtype=np.int32),
        single("zb", np.int32(0)),
    ]
    graph = read(file(nodes, {"x": [1, 3, 8, 8]}, ["y"], initial), tmp_path)  # type: ignore[arg-type]
    conv = only(graph, "conv")
    assert unit(conv) == "int8"
    assert formats(graph, conv) == (["uint8", "int8", "int32"], ["uint8"])
    assert weights_read(graph, conv) == 4 * 27
    assert [op.fn for op in ops(graph)] == ["quantize", "conv2d", "dequantize"]


def test_a_chain_stays_quantised_and_pairs_in_between_cost_nothing(tmp_path: Path) -> None:
    nodes = [
        q("x", "xq"), dq("xq", "xd"), dq("w", "wd", "zi"), node("MatMul", ["xd", "wd"], ["m"]), q("m", "mq"), dq("mq", "md"),
        node("Relu", ["md"], ["r"]), q("r", "rq"), dq("rq", "rd"), dq("w", "wd2", "zi"), node("MatMul", ["rd", "wd2"], ["n"]),
        q("n", "nq"), dq("nq", "nd"), dq("xq", "xd2"), node("Add", ["nd", "xd2"], ["a"]), q("a", "aq"), dq("aq", "y"),
    ]  # fmt: skip
    graph = read(file(nodes, {"x": [5, 16]}, ["y"], [*SCALES, weight("w", 16, 16, dtype=np.int8)]), tmp_path)  # type: ignore[arg-type]
    assert [op.fn for op in ops(graph)] == ["quantize", "linear", "relu", "linear", "add", "dequantize"]
    for op in ops(graph)[1:-1]:
        assert set(formats(graph, op)[1]) == {"uint8"}


def test_weights_alone_are_expanded_to_the_format_of_the_input(tmp_path: Path) -> None:
    nodes = [dq("w", "wd", "zi"), node("MatMul", ["x", "wd"], ["y"])]
    graph = read(file(nodes, {"x": [5, 16]}, ["y"], [*SCALES, weight("w", 16, 32, dtype=np.int8)]), tmp_path)  # type: ignore[arg-type]
    product = only(graph, "matmul")
    assert unit(product) == "fp32"
    assert weights_read(graph, product) == 16 * 32
    assert product.attrs["weights"] == "int8"


def test_four_bit_weights_take_half_a_byte(tmp_path: Path) -> None:
    packed = helper.make_tensor("w", TensorProto.INT4, [64, 32], np.zeros(64 * 32, np.int8).tolist())
    scales = numpy_helper.from_array(np.ones((2, 32), np.float32), "scales")
    nodes = [
        node("DequantizeLinear", ["w", "scales"], ["wd"], axis=0, block_size=32),
        node("MatMul", ["x", "wd"], ["y"]),
    ]
    graph = read(file(nodes, {"x": [5, 64]}, ["y"], [packed, scales], opset=21), tmp_path)
    assert weights_read(graph, only(graph, "matmul")) == 64 * 32 / 2


def test_an_operator_without_a_closing_pair_reads_a_dequantised_tensor(tmp_path: Path) -> None:
    nodes = [q("x", "xq"), dq("xq", "xd"), node("Softmax", ["xd"], ["y"])]
    graph = read(file(nodes, {"x": [5, 16]}, ["y"], SCALES), tmp_path)  # type: ignore[arg-type]
    assert [op.fn for op in ops(graph)] == ["quantize", "dequantize", "softmax"]


def test_a_result_two_nodes_read_is_written_in_full(tmp_path: Path) -> None:
    nodes = [
        q("x", "xq"), dq("xq", "xd"), dq("w", "wd", "zi"), node("MatMul", ["xd", "wd"], ["m"]), q("m", "mq"), dq("mq", "y"),
        node("Relu", ["m"], ["z"]),
    ]  # fmt: skip
    graph = read(file(nodes, {"x": [5, 16]}, ["y", "z"], [*SCALES, weight("w", 16, 16, dtype=np.int8)]), tmp_path)  # type: ignore[arg-type]
    product = only(graph, "matmul")
    assert formats(graph, product)[1] == ["fp32"]
    assert unit(product) == "int8"


def test_integer_operators(tmp_path: Path) -> None:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]), node("MatMulInteger", ["xq", "w", "xz", "zi"], ["i"]),
        node("Cast", ["i"], ["f"], to=1), node("Mul", ["f", "xs"], ["y"]),
    ]  # fmt: skip
    graph = read(file(nodes, {"x": [5, 16]}, ["y"], [*SCALES, weight("w", 16, 8, dtype=np.int8)]), tmp_path)
    product = only(graph, "matmul")
    assert unit(product) == "int8"
    assert formats(graph, product)[1] == ["int32"]


def test_qlinear_operators(tmp_path: Path) -> None:
    nodes = [
        q("x", "xq"), node("QLinearConv", ["xq", "s", "zu", "w", "s", "zi", "s", "zu"], ["c"]),
        node("QLinearAdd", ["c", "s", "zu", "c", "s", "zu", "s", "zu"], ["a"], domain="com.microsoft"), dq("a", "y"),
    ]  # fmt: skip
    graph = read(file(nodes, {"x": [1, 3, 8, 8]}, ["y"], [*SCALES, weight("w", 4, 3, 3, 3, dtype=np.int8)]), tmp_path)  # type: ignore[arg-type]
    conv = only(graph, "conv")
    assert (unit(conv), formats(graph, conv)[1]) == ("int8", ["uint8"])
    assert graph.attrs["unknown_ops"] == ()
