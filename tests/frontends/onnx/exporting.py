"""Exports a module and sets what the file says beside what a capture of the module says."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from speedlight._foundation.expr import compile_tape
from speedlight._foundation.formats import bytes_per_element
from speedlight.frontends.onnx_file import load_onnx
from speedlight.frontends.torch_export import capture, parse_inputs
from speedlight.frontends.torch_export.inputs import TORCH_DTYPES
from speedlight.graph.ir import Graph
from tests.frontends.torch.counting import matmul_flops

EXPORTERS = ("torchscript", "dynamo")


@dataclass(frozen=True)
class Sums:
    """Of one forward pass: FLOPs of products (unmasked), bytes of the weights that ops read, number of ops."""

    flops: float
    weight_bytes: float
    ops: int


def sums(graph: Graph) -> Sums:
    return Sums(matmul_flops(graph, "forward"), used_weight_bytes(graph), sum(1 for _ in graph.ops()))


def used_weight_bytes(graph: Graph) -> float:
    """Exporters drop parameters the forward pass does not read, so only those that ops read are compared."""
    terms, shared = [], set()
    for block in graph.blocks:
        read = {r.tensor for op in block.ops for r in op.reads}
        for name in read:
            tensor = graph.tensor(block, name)
            if tensor.cls != "weight" or name in shared:
                continue
            own = name in block.tensors
            if not own:
                shared.add(name)
            terms.append(tensor.elements * bytes_per_element(tensor.dtype) * (block.count if own else 1))
    return sum(float(v) for v in compile_tape(terms).run(dict(graph.symbols)))


def example(inputs: tuple[str, ...]) -> list[torch.Tensor]:
    """Tensors of the stated shapes; indices small enough for every table."""
    made = []
    for shape in parse_inputs(inputs):
        dtype = getattr(torch, TORCH_DTYPES[shape.dtype or "fp32"])
        made.append(
            torch.ones(shape.shape, dtype=dtype)
            if not dtype.is_floating_point
            else torch.randn(shape.shape, dtype=dtype)
        )
    return made


def export(module: nn.Module, inputs: tuple[str, ...], path: Path, exporter: str, dynamic: bool = False) -> Path:
    """Write the file; what the exporter prints is swallowed."""
    module.eval()
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.02)  # exporters store equal tensors (fresh biases) once
    arguments = tuple(example(inputs))
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in arguments) if dynamic else None
            torch.onnx.export(module, arguments, str(path), dynamo=True, dynamic_shapes=shapes, verbose=False)
        else:
            names = [f"input_{i}" for i in range(len(arguments))]
            axes = {n: {0: "batch"} for n in names} if dynamic else None
            torch.onnx.export(
                module,
                arguments,
                str(path),
                dynamo=False,
                input_names=names,
                dynamic_axes=axes,
                opset_version=17,
                do_constant_folding=False,
            )
    return path


def both(
    module: nn.Module, inputs: tuple[str, ...], path: Path, exporter: str, dynamic: bool = False
) -> tuple[Graph, Graph]:
    """(graph of the exported file, graph of the captured module)."""
    module.eval()
    export(module, inputs, path, exporter, dynamic)
    stated = tuple(text.partition(":")[0] for text in inputs) if dynamic else ()
    return load_onnx(path, stated), capture(module, inputs, dynamic_batch=dynamic)
