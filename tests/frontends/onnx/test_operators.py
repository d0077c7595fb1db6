"""Operators: sizes against onnx's own shape inference, work against formulas written out here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from speedlight._foundation.expr import evaluate

from .building import file, node, numbers, only, ops, read, single, weight

X = [2, 6, 8, 10]
# name → (node's operator, inputs as shapes or initialisers, attributes); the node's first input is x.
Case = tuple[str, list[Any], dict[str, Any]]
CASES: dict[str, Case] = {
    "conv": ("Conv", [weight("w", 4, 3, 3, 3)], {"group": 2, "pads": [1, 2, 1, 2], "strides": [2, 1]}),
    "conv same": ("Conv", [weight("w", 4, 6, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [3, 2]}),
    "conv dilated": ("Conv", [weight("w", 4, 6, 3, 3)], {"dilations": [2, 3]}),
    "conv transposed": ("ConvTranspose", [weight("w", 6, 5, 3, 2)], {"strides": [2, 3], "output_padding": [1, 0], "pads": [1, 0, 0, 1]}),
    "max pool": ("MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    "average pool": ("AveragePool", [], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}),
    "global pool": ("GlobalAveragePool", [], {}), "flatten": ("Flatten", [], {"axis": 2}),
    "reshape": ("Reshape", [numbers("s", 0, -1, 20)], {}), "transpose": ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    "slice": ("Slice", [numbers("b", 1, -3), numbers("e", 99, -1), numbers("a", 1, 3)], {}),
    "slice back": ("Slice", [numbers("b", -1), numbers("e", -100), numbers("a", 2), numbers("s", -3)], {}),
    "split": ("Split", [numbers("n", 2, 4)], {"axis": 1}), "gather": ("Gather", [numbers("i", 1, 2, 0)], {"axis": 2}),
    "concat": ("Concat", [weight("w", 2, 6, 3, 10)], {"axis": 2}), "expand": ("Expand", [numbers("s", 3, 1, 6, 8, 10)], {}),
    "tile": ("Tile", [numbers("n", 1, 2, 1, 3)], {}), "pad": ("Pad", [numbers("p", 0, 0, 1, 2, 0, 0, 3, 4)], {}),
    "resize": ("Resize", ["", "", numbers("s", 2, 6, 16, 5)], {}),
    "resize by scales": ("Resize", ["", single("s", np.asarray([1, 1, 2, 1.5], np.float32))], {}),
    "squeeze": ("Unsqueeze", [numbers("a", 0, -1)], {}), "depth to space": ("SpaceToDepth", [], {"blocksize": 2}),
    "mean": ("ReduceMean", [], {"axes": [1, -1], "keepdims": 0}), "sum": ("ReduceSum", [numbers("a", 2)], {}),
    "arg max": ("ArgMax", [], {"axis": 1}), "softmax": ("Softmax", [], {"axis": 1}), "top k": ("TopK", [numbers("k", 3)], {"axis": 2}),
    "matrix": ("MatMul", [weight("w", 10, 7)], {}), "batched": ("MatMul", [weight("w", 6, 10, 3)], {}),
    "vector": ("MatMul", [weight("w", 10)], {}), "einsum": ("Einsum", [weight("w", 6, 10, 3)], {"equation": "bchw,cwe->bhe"}),
    "layer norm": ("LayerNormalization", [weight("w", 10)], {}), "add": ("Add", [weight("w", 5, 1, 1, 8, 10)], {}),
    "equal": ("Equal", [weight("w", 10)], {}), "cast": ("Cast", [], {"to": 10}), "shape": ("Shape", [], {"start": 1}),
    "one more": ("CumSum", [numbers("a", 1)], {}), "grid": ("GridSample", [weight("w", 2, 5, 4, 2)], {}),
    "trilu": ("Trilu", [], {}), "gather elements": ("GatherElements", [single("i", np.zeros((2, 3, 8, 10), np.int64))], {"axis": 1}),
    "gather nd": ("GatherND", [single("i", np.zeros((4, 2), np.int64))], {}), "instance norm": ("InstanceNormalization", [weight("s", 6), weight("b", 6)], {}),
}  # fmt: skip


def model_of(case: Case, x: list[Any]) -> onnx.ModelProto:
    op, rest, attributes = case
    initial = [r for r in rest if not isinstance(r, str)]
    names = ["x", *(r if isinstance(r, str) else r.name for r in rest)]
    outputs = ["y", "z"] if op in ("Split", "TopK") else ["y"]
    last = node("Identity", ["y"], ["out"])
    return file(
        [node("Relu", ["x"], ["r"]), node(op, ["r", *names[1:]], outputs, **attributes), last],
        {"x": x},
        ["out"],
        initial,
    )


def inferred(model: onnx.ModelProto, name: str = "y") -> list[int]:
    found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    info = next(v for v in (*found.graph.value_info, *found.graph.output) if v.name == name)
    return [d.dim_value for d in info.type.tensor_type.shape.dim]


@pytest.mark.parametrize("name", CASES)
def test_sizes_are_those_onnx_infers(name: str, tmp_path: Path) -> None:
    """The walk's own shape of the result, at a fixed batch and at a free one."""
    from speedlight.frontends.onnx_file.axes import entries
    from speedlight.frontends.onnx_file.reading import read as parse
    from speedlight.frontends.onnx_file.sizes import Varies, at
    from speedlight.frontends.onnx_file.walk import Frame

    wanted = inferred(model_of(CASES[name], X))
    for batch in (2, "N"):
        path = tmp_path / "m.onnx"
        path.write_bytes(model_of(CASES[name], [batch, *X[1:]]).SerializeToString())
        model = parse(path)
        seen: list[Frame] = []
        try:
            walk_with(model, entries(model, ()), seen)
        except Varies:  # an initialiser that fixes the batch, as in the sizes of a Resize
            continue
        shape = seen[0].names["y"].shape
        assert shape is not None
        assert [at(s, 2) for s in shape] == wanted


def walk_with(model: Any, found: Any, seen: list[Any]) -> None:
    """The pass of :func:`load_onnx`, its outermost frame kept."""
    from unittest.mock import patch

    from speedlight.frontends import onnx_file
    from speedlight.frontends.onnx_file import walk

    class Kept(walk.Frame):
        def __init__(self, *args: Any, **fields: Any) -> None:
            super().__init__(*args, **fields)
            seen.append(self)

    with patch.object(walk, "Frame", Kept):
        onnx_file._walked(model, found)


def test_a_convolution_multiplies_what_the_formula_says(tmp_path: Path) -> None:
    graph = read(model_of(CASES["conv"], X), tmp_path)
    conv = only(graph, "conv")
    # 2 · batch · out_h · out_w · out_channels · in_channels/groups · kernel
    assert evaluate(conv.flops("matmul"), {}) == 2 * 2 * 4 * 12 * 4 * 3 * 9
    assert conv.attrs["groups"] == 2
    assert conv.fn == "conv2d"


def test_a_matrix_product_with_a_weight_is_a_linear_layer(tmp_path: Path) -> None:
    graph = read(model_of(CASES["matrix"], X), tmp_path)
    linear = only(graph, "matmul")
    assert linear.fn == "linear"
    assert {k: evaluate(v, {}) for k, v in linear.dims.items()} == {"m": 2 * 6 * 8, "n": 7, "k": 10, "batch": 1}


def test_an_embedding_reads_the_rows_it_looks_up(tmp_path: Path) -> None:
    nodes = [node("Gather", ["table.weight", "ids"], ["y"])]
    graph = read(file(nodes, {"ids": (["batch", 5], "int64")}, ["y"], [weight("table.weight", 1000, 16)]), tmp_path)
    found = only(graph, "embedding")
    assert evaluate(found.reads[0].elements, {"batch": 3}) == 3 * 5 * 16  # type: ignore[arg-type]
    assert found.path == "table"


def test_shape_arithmetic_leaves_no_ops_and_follows_the_batch(tmp_path: Path) -> None:
    """Shape → Gather → Mul → Concat → Reshape, as exporters write x.view(b, h·w, c)."""
    nodes = [
        node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["b"]), node("Gather", ["s", "two"], ["h"]),
        node("Gather", ["s", "three"], ["w"]), node("Mul", ["h", "w"], ["hw"]), node("Unsqueeze", ["b", "axis"], ["b1"]),
        node("Unsqueeze", ["hw", "axis"], ["hw1"]), node("Concat", ["b1", "rest", "hw1"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["flat"]), node("Relu", ["flat"], ["y"]),
    ]  # fmt: skip
    initial = [
        single("zero", np.int64(0)),
        single("two", np.int64(2)),
        single("three", np.int64(3)),
        numbers("axis", 0),
        numbers("rest", -1),
    ]
    graph = read(file(nodes, {"x": ["batch", 6, 8, 10]}, ["y"], initial), tmp_path)
    assert [op.fn for op in ops(graph)] == ["relu"]
    assert graph.attrs["static"] == ()
    made = graph.tensor(graph.blocks[0], ops(graph)[0].writes[0].tensor)
    assert evaluate(made.elements, {"batch": 7}) == 7 * 480


def test_a_file_that_fixes_the_batch_inside_holds_at_that_batch(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "to"], ["flat"]), node("Relu", ["flat"], ["y"])]
    graph = read(file(nodes, {"x": ["batch", 6]}, ["y"], [numbers("to", 4, 3, 2)]), tmp_path, "4x6")
    assert graph.attrs["static"] == ("batch",)
    assert graph.symbols["batch"] == 4


def test_recurrences_take_one_product_and_dependent_steps(tmp_path: Path) -> None:
    nodes = [node("LSTM", ["x", "w", "r", "b"], ["y", "h", "c"], hidden_size=7, direction="bidirectional")]
    initial = [weight("w", 2, 28, 5), weight("r", 2, 28, 7), weight("b", 2, 56)]
    graph = read(file(nodes, {"x": [11, 3, 5]}, ["y", "h", "c"], initial), tmp_path)
    scans = [op for op in ops(graph) if op.kind == "scan"]
    assert [evaluate(op.span, {}) for op in scans] == [11, 11]
    flops = sum(evaluate(op.flops("matmul"), {}) for op in ops(graph))
    assert flops == 2 * 2 * 11 * 3 * 28 * (5 + 7)


CONTRIB: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto], float]] = {
    # batch 2, 16 tokens, width 64, 4 heads of 16
    "Attention": ([node("Attention", ["x", "w", "b"], ["y"], domain="com.microsoft", num_heads=4)],
                  [weight("w", 64, 192), weight("b", 192)], 2 * 32 * 64 * 192 + 4 * 2 * 4 * 16 * 16 * 16),
    "MultiHeadAttention": ([node("MultiHeadAttention", ["x", "x", "x"], ["y"], domain="com.microsoft", num_heads=4)], [],
                           4 * 2 * 4 * 16 * 16 * 16),
    "GroupQueryAttention": ([node("MatMul", ["x", "w"], ["k"]),
                             node("GroupQueryAttention", ["x", "k", "k"], ["y"], domain="com.microsoft", num_heads=4, kv_num_heads=2)],
                            [weight("w", 64, 32)], 2 * 32 * 64 * 32 + 4 * 2 * 4 * 136 * 16),
    "FusedMatMul": ([node("FusedMatMul", ["x", "x"], ["y"], domain="com.microsoft", transB=1)], [], 2 * 2 * 16 * 16 * 64),
    "MatMulNBits": ([node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=64, N=48, bits=4, block_size=32)],
                    [weight("w", 48, 2, 16, dtype=np.uint8), weight("s", 96)], 2 * 32 * 64 * 48),
    "SkipLayerNormalization": ([node("SkipLayerNormalization", ["x", "x", "w"], ["y"], domain="com.microsoft")], [weight("w", 64)], 0),
    "Gelu": ([node("Gelu", ["x"], ["y"], domain="com.microsoft")], [], 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRIB)
def test_operators_of_onnxruntime(name: str, tmp_path: Path) -> None:
    nodes, initial, flops = CONTRIB[name]
    graph = read(file(nodes, {"x": [2, 16, 64]}, ["y"], initial), tmp_path)
    assert graph.attrs["unknown_ops"] == ()
    assert sum(evaluate(op.flops("matmul"), {}) for op in ops(graph)) == flops


def test_every_standard_operator_of_the_opsets_has_a_rule_or_is_listed() -> None:
    """What is left is what no model of the kinds we read contains, by name."""
    from speedlight.frontends.onnx_file.control import _SPECIAL
    from speedlight.frontends.onnx_file.reading import OPSETS
    from speedlight.frontends.onnx_file.rules import RULES
    from speedlight.frontends.onnx_file.values import FOLDS

    standard = {
        s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == "" and s.since_version <= OPSETS[1]
    }
    missing = standard - {name for domain, name in RULES if domain == ""} - set(_SPECIAL) - set(FOLDS)
    assert missing == WITHOUT_RULE


WITHOUT_RULE = {
    "OptionalHasElement", "SequenceMap", "StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch", "TfIdfVectorizer",
    "ImageDecoder",
}  # fmt: skip


def test_names_without_a_pytorch_scope_take_the_paths_of_their_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "net.0.conv.weight"], ["a"], name="Conv_0"), helper.make_node("Relu", ["a"], ["b"], name="Relu_1"),
        helper.make_node("Conv", ["b", "net.0.more.weight"], ["y"], name="Conv_2"),
    ]  # fmt: skip
    initial = [weight("net.0.conv.weight", 6, 6, 1, 1), weight("net.0.more.weight", 6, 6, 1, 1)]
    graph = read(file(nodes, {"x": X}, ["y"], initial), tmp_path)
    assert [op.path for op in ops(graph)] == ["net.0.conv", "net.0", "net.0.more"]
