"""Branches, loops, scans, functions, inputs and their axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, TensorProto, helper

from speedlight._foundation.errors import BadInput
from speedlight._foundation.expr import evaluate
from speedlight.graph.ir import Graph

from .building import file, node, numbers, ops, read, single, weight

W = weight("w", 8, 8)


def total(graph: Graph) -> float:
    return float(sum(evaluate(op.flops("matmul") * op.count, {"batch": 3}) for op in ops(graph)))


def value(name: str, shape: list[int], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def body(nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Any:
    return helper.make_graph(nodes, "body", inputs, outputs)


def looped(rounds: Any) -> Any:
    inner = body(
        [node("MatMul", ["s", "w"], ["t"]), node("Identity", ["c"], ["d"]), node("ReduceSum", ["t"], ["e"], keepdims=0)],
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("s", [3, 8])],
        [value("d", [], TensorProto.BOOL), value("t", [3, 8]), value("e", [])],
    )  # fmt: skip
    return file([node("Loop", ["n", "", "x"], ["y", "each"], body=inner)], {"x": [3, 8]}, ["y", "each"], [W, rounds])


def test_a_loop_of_known_rounds_counts_each_op_that_often(tmp_path: Path) -> None:
    graph = read(looped(single("n", np.int64(12))), tmp_path)
    assert total(graph) == 12 * 2 * 3 * 8 * 8
    assert graph.attrs["unknown_ops"] == ()


def test_a_scan_runs_as_often_as_its_sequence_is_long(tmp_path: Path) -> None:
    inner = body([node("MatMul", ["s", "w"], ["m"]), node("Add", ["m", "e"], ["t"]), node("Relu", ["t"], ["o"])],
                 [value("s", [1, 8]), value("e", [1, 8])], [value("t", [1, 8]), value("o", [1, 8])])  # fmt: skip
    nodes = [node("Scan", ["x", "seq"], ["y", "all"], body=inner, num_scan_inputs=1)]
    graph = read(file(nodes, {"x": [1, 8], "seq": [7, 1, 8]}, ["y", "all"], [W]), tmp_path)
    assert total(graph) == 7 * 2 * 8 * 8


def branched(initial: list[Any], inputs: dict[str, Any]) -> Any:
    dear = body([node("MatMul", ["x", "w"], ["a"])], [], [value("a", [3, 8])])
    cheap = body([node("Relu", ["x"], ["b"])], [], [value("b", [3, 8])])
    return file(
        [node("If", ["c"], ["y"], then_branch=cheap, else_branch=dear)], {"x": [3, 8], **inputs}, ["y"], [W, *initial]
    )


def test_a_known_condition_takes_its_branch(tmp_path: Path) -> None:
    assert total(read(branched([single("c", np.asarray(True))], {}), tmp_path)) == 0
    assert total(read(branched([single("c", np.asarray(False))], {}), tmp_path)) == 2 * 3 * 8 * 8


def test_an_unknown_condition_is_priced_at_the_dearer_side_and_says_so(tmp_path: Path) -> None:
    graph = read(branched([], {"c": ([], "bool")}), tmp_path)
    assert total(graph) == 2 * 3 * 8 * 8
    assert any("dearer" in said for _, said in graph.attrs["assumptions"])


def test_functions_are_spelled_out_with_the_attributes_of_the_call(tmp_path: Path) -> None:
    turn = node("Transpose", ["a"], ["b"])
    turn.attribute.add(name="perm", ref_attr_name="order", type=AttributeProto.INTS)
    made = helper.make_function(
        "own",
        "F",
        ["a", "k"],
        ["d"],
        [turn, node("MatMul", ["b", "k"], ["d"])],
        [helper.make_opsetid("", 17)],
        ["order"],
    )
    call = node("F", ["x", "w"], ["y"], domain="own", order=[1, 0])
    graph = read(file([call], {"x": [8, 5]}, ["y"], [W], functions=[made]), tmp_path)
    assert total(graph) == 2 * 5 * 8 * 8


# inputs ---------------------------------------------------------------------------------------------------------------

TEXT = {"ids": (["batch", "sequence"], "int64"), "mask": (["batch", "sequence"], "int64")}


def text_model() -> Any:
    nodes = [node("Gather", ["table.weight", "ids"], ["e"]), node("MatMul", ["e", "w"], ["m"]), node("Cast", ["mask"], ["f"], to=1),
             node("Unsqueeze", ["f", "last"], ["u"]), node("Mul", ["m", "u"], ["y"])]  # fmt: skip
    return file(nodes, TEXT, ["y"], [weight("table.weight", 50, 8), W, numbers("last", -1)])


@pytest.mark.parametrize("stated", [["ids=1x6"], ["1x6"], ["sequence=6"], ["1x6", "1x6"], ["ids=4x6:int64"]])
def test_an_open_axis_is_stated_by_input_position_or_name(stated: list[str], tmp_path: Path) -> None:
    graph = read(text_model(), tmp_path, *stated)
    assert total(graph) == 2 * 3 * 6 * 8 * 8
    assert graph.symbols["batch"] == (4 if "4x" in stated[0] else 1)


@pytest.mark.parametrize(
    ("stated", "says"),
    [([], "'sequence'"), (["ids=1x6", "mask=1x7"], "as 6 and as 7"), (["1x6x2"], "3 sizes"), (["idz=1x6"], "no input or axis"),
     (["ids=1x6:fp32"], "int64"), (["1x6", "1x6", "1x6"], "3 inputs"), (["ids=1x6", "1x6"], "positional"), (["ids=0x6"], "is 0")],
)  # fmt: skip
def test_what_is_wrong_with_an_input_is_named(stated: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=says):
        read(text_model(), tmp_path, *stated)


def test_the_command_line_prices_a_file_at_a_batch(tmp_path: Path) -> None:
    import speedlight

    path = tmp_path / "text.onnx"
    path.write_bytes(text_model().SerializeToString())
    one, many = (
        speedlight.explain(str(path), "a100-sxm-80gb", batch=b, inputs=["sequence=64"], stack="ideal") for b in (1, 64)
    )
    assert many.flops == 64 * one.flops
    with pytest.raises(speedlight.SpeedlightError, match="takes no --dtype"):
        speedlight.explain(str(path), "a100-sxm-80gb", dtype="fp16", inputs=["sequence=64"])
