"""Independent counts: torch's own FLOP counter on fake tensors, and captured graphs evaluated at a batch."""

from __future__ import annotations

import time
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
import torch.utils.flop_counter as counter
from torch._subclasses.fake_tensor import FakeTensorMode

from speedlight._foundation.expr import compile_tape
from speedlight._foundation.formats import bytes_per_element
from speedlight.frontends import torch_export
from speedlight.frontends.torch_export import capture, parse_inputs
from speedlight.frontends.torch_export.arguments import tensors_in
from speedlight.frontends.torch_export.fold import fold
from speedlight.frontends.torch_export.inputs import TORCH_DTYPES
from speedlight.frontends.torch_export.source import find
from speedlight.graph import stats
from speedlight.graph.grammar import check
from speedlight.graph.ir import Graph

from .modules import MODULES

# The counter has formulas for the fused attention kernels of GPUs only; on a CPU (and on fake CPU tensors) the same
# call reaches a kernel it does not know and counts 0 (pytorch/pytorch#195460). Its own formulas are lent to that one.
_aten = torch.ops.aten
CPU_ATTENTION = {
    _aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, out_shape=None, **__: (
        counter.sdpa_flop_count(q, k, v)
    ),
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda d, q, k, v, *_, out_shape=None, **__: (
        counter.sdpa_backward_flop_count(d, q, k, v)
    ),
}


@cache
def flat(name: str) -> Graph:
    """The capture before it is folded."""
    return timed(name)[0]


@cache
def timed(name: str) -> tuple[Graph, float]:
    """The same, and the processor's seconds that it took."""
    start = time.process_time()
    with patch.object(torch_export, "fold", lambda graph: graph):
        return capture(*MODULES[name]), time.process_time() - start


@cache
def captured(name: str) -> Graph:
    """What ``capture`` returns, without tracing again."""
    return check(fold(flat(name)))


@cache
def counted(name: str) -> tuple[int, int, int]:
    """(forward FLOPs, backward FLOPs, parameters) of a module by torch's counter; causal attention counts dense."""
    factory, inputs = MODULES[name]
    module = (find(factory) if isinstance(factory, str) else factory)().eval()
    shapes = parse_inputs(inputs)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, counter.FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as found:
        tensors = [torch.zeros(s.shape, dtype=getattr(torch, TORCH_DTYPES[s.dtype or "fp32"])) for s in shapes]
        named = {s.name: t for s, t in zip(shapes, tensors, strict=True) if s.name}
        result = module(*[t for s, t in zip(shapes, tensors, strict=True) if not s.name], **named)
        forward = found.get_total_flops()
        outputs = [t for t in tensors_in(result, set()) if t.requires_grad and t.is_floating_point()]
        sum(t.sum() for t in outputs).backward()
        total = found.get_total_flops()
    return forward, total - forward, sum(p.numel() for p in module.parameters())


def value(graph: Graph, expr: Any, batch: float | None = None) -> float:
    return values(graph, [expr], batch)[0]


def values(graph: Graph, exprs: list[Any], batch: float | None = None) -> list[float]:
    env = dict.fromkeys(graph.symbols, graph.symbols["batch"] if batch is None else batch)
    return [float(v) for v in compile_tape(exprs).run(env)]


def matmul_flops(graph: Graph, phase: str, *, dense: bool = True, batch: float | None = None) -> float:
    terms = []
    for block, op in graph.ops():
        if op.phase == phase:
            for work in op.work:
                if work.unit == "matmul":
                    flops = work.dense if dense and work.dense is not None else work.flops
                    terms.append(flops * op.count * block.count)
    return sum(values(graph, terms, batch))


def bytes_moved(graph: Graph, batch: float | None = None) -> float:
    """Bytes of all operands."""
    terms = []
    for block, op in graph.ops():
        for operand in (*op.reads, *op.writes):
            tensor = graph.tensor(block, operand.tensor)
            elements = tensor.elements if operand.elements is None else operand.elements
            terms.append(elements * bytes_per_element(tensor.dtype) * operand.reuse * op.count * block.count)
    return sum(values(graph, terms, batch))


def op_count(graph: Graph) -> float:
    return sum(values(graph, [op.count * block.count for block, op in graph.ops()]))


def totals(graph: Graph, batch: float | None = None) -> tuple[float, ...]:
    """Parameters, ops, FLOPs of products (unmasked, then all), bytes of operands."""
    return (
        stats.parameters(graph), op_count(graph), matmul_flops(graph, "forward", dense=False, batch=batch),
        matmul_flops(graph, "forward", batch=batch), bytes_moved(graph, batch),
    )  # fmt: skip
