"""Small ONNX files written by hand, and what is read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from speedlight.frontends.onnx_file import load_onnx
from speedlight.graph.ir import Graph, Op

KINDS = {"fp32": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL, "uint8": TensorProto.UINT8,
         "int8": TensorProto.INT8, "fp16": TensorProto.FLOAT16}  # fmt: skip


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def weight(name: str, *shape: int, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype=dtype), name)


def numbers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=np.int64), name)


def single(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def file(
    nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Any], outputs: Sequence[str], initial: Sequence[onnx.TensorProto] = (),
    opset: int = 17, functions: Sequence[Any] = (),
) -> onnx.ModelProto:  # fmt: skip
    """A model; an input is a shape, or (shape, dtype)."""
    entries = []
    for name, stated in inputs.items():
        shape, kind = stated if isinstance(stated, tuple) else (stated, "fp32")
        entries.append(helper.make_tensor_value_info(name, KINDS[kind], shape))
    results = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", entries, results, list(initial))
    domains = {n.domain for n in nodes} - {""}
    versions = [helper.make_opsetid("", opset), *[helper.make_opsetid(d, 1) for d in sorted(domains)]]
    return helper.make_model(graph, opset_imports=versions, functions=list(functions), ir_version=10)


def read(model: onnx.ModelProto, folder: Path, *inputs: str) -> Graph:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_onnx(path, inputs)


def ops(graph: Graph) -> list[Op]:
    return [op for _, op in graph.ops()]


def only(graph: Graph, kind: str) -> Op:
    found = [op for op in ops(graph) if op.kind == kind]
    assert len(found) == 1, [(op.kind, op.fn) for op in ops(graph)]
    return found[0]


def formats(graph: Graph, op: Op) -> tuple[list[str], list[str]]:
    """Formats of what an op reads and writes."""
    block = graph.blocks[0]
    return (
        [graph.tensor(block, r.tensor).dtype for r in op.reads], [graph.tensor(block, w.tensor).dtype for w in op.writes]
    )  # fmt: skip
