"""The optimizer's step: one streaming op over all parameters of the rank, its states and their bytes.

Bytes a parameter takes in all, weights and gradients included: AdamW in mixed precision 2 + 2 + 4 + 4 + 4 = 16 (bf16
weights and gradients; fp32 master copy, mean and variance: arXiv 1910.02054 section 3.1), in fp32 4 + 4 + 4 + 4 = 16.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..._foundation.errors import BadInput, UnknownName
from ..._foundation.expr import Expr, symbols, total
from ..._foundation.formats import number_format
from ..builder import BlockBuilder
from ..grammar import check
from ..ir import ONE, Block, Graph, Op, Operand, Persistent, Tensor


@dataclass(frozen=True, slots=True)
class Optimizer:
    """States an optimizer keeps for each parameter.

    Attributes:
        states: their names.
        bits8: states are 8-bit integers with one fp32 scale for 256 of them (bitsandbytes; arXiv 2110.02861).
        master: it updates an fp32 copy of 16-bit weights.
    """

    states: tuple[str, ...] = ()
    bits8: bool = False
    master: bool = True


OPTIMIZERS = {
    "adamw": Optimizer(("exp_avg", "exp_avg_sq")),
    "adam": Optimizer(("exp_avg", "exp_avg_sq")),
    "adam8bit": Optimizer(("exp_avg", "exp_avg_sq"), bits8=True),
    "sgd": Optimizer(),
    "sgd_momentum": Optimizer(("momentum",)),
    "lion": Optimizer(("exp_avg",)),
}
NONE = "none"  # a forward and backward pass without an update


def add_optimizer(
    graph: Graph, name: str = "adamw", *, master: bool = True, grad_dtype: str | None = None, state_dtype: str = "fp32"
) -> Graph:
    """Add the update of every parameter that has a gradient.

    Args:
        graph: a differentiated graph.
        name: one of :data:`OPTIMIZERS`; ``none`` for a forward and backward pass without an update.
        master: keep an fp32 copy of weights narrower than 32 bits, as mixed-precision training does.
        grad_dtype: format gradients are kept in; the weights' own by default.
        state_dtype: format of the states (8-bit optimizers ignore it).

    Returns:
        a checked graph with a block ``optimizer``: one op for each format of weights, over Σ elements · block count.

    Raises:
        UnknownName: for an optimizer that is not listed.
        BadInput: for a graph without gradients.
    """
    if name == NONE:
        return graph.replace(attrs={**graph.attrs, "optimizer": name})
    if name not in OPTIMIZERS:
        raise UnknownName("optimizer", name, OPTIMIZERS)
    if any(b.phase == "optimizer" for b in graph.blocks):
        raise BadInput(f"{graph.name} has an optimizer already", expected="a differentiated graph")
    if grad_dtype is not None:
        graph = _with_gradients_in(graph, number_format(grad_dtype).name)
    sizes = _sizes(graph)
    if not sizes:
        raise BadInput(
            f"{graph.name} has no gradients", expected="a differentiated graph", hint="differentiate() first"
        )
    chosen = OPTIMIZERS[name]
    tensors: dict[str, Tensor] = {}
    ops = [
        _update(
            name,
            chosen,
            number,
            gradient,
            expert,
            size,
            number_of,
            tensors,
            master=master,
            state_dtype=number_format(state_dtype).name,
        )
        for (number, gradient, expert), (size, number_of) in sizes.items()
    ]
    block = Block("optimizer", tuple(ops), tensors, phase="optimizer")
    return check(graph.replace(blocks=(*graph.blocks, block), attrs={**graph.attrs, "optimizer": name}))


def _sizes(graph: Graph) -> dict[tuple[str, str, bool], tuple[Expr, Expr]]:
    """(format of weights, of their gradients, whether they are experts', which other ranks hold) → elements, tensors."""
    terms: dict[tuple[str, str, bool], list[tuple[Expr, Expr]]] = {}
    mirrors = graph.attrs.get("mirrors", {})
    forward = {b.name: b for b in graph.blocks if b.phase == "forward"}
    experts = {name for name, dim in graph.dims.items() if dim.role in ("experts", "expert_ffn")}

    def add(weight: Tensor, gradient: Tensor, times: Expr) -> None:
        key = (weight.dtype, gradient.dtype, bool(symbols(gradient.elements) & experts))
        terms.setdefault(key, []).append((gradient.elements * times, times))

    for block in graph.blocks:
        if block.phase != "backward":
            continue
        for tensor in block.tensors.values():
            if tensor.cls == "gradient":
                add(forward[mirrors[block.name]].tensors[tensor.name.removeprefix("grad.")], tensor, block.count)
    for tensor in graph.shared.values():
        if tensor.cls == "gradient":
            add(graph.shared[tensor.name.removeprefix("grad.")], tensor, ONE)
    return {key: (total(e for e, _ in sizes), total(n for _, n in sizes)) for key, sizes in terms.items()}


def _update(
    name: str, optimizer: Optimizer, number: str, gradient: str, expert: bool, size: Expr, number_of: Expr,
    tensors: dict[str, Tensor], *, master: bool, state_dtype: str,
) -> Op:  # fmt: skip
    label = (number if number == gradient else f"{number}.{gradient}") + (".experts" if expert else "")

    def declare(what: str, dtype: str, cls: str, *, elements: Expr = size, kept: bool = False) -> str:
        key = f"{what}.{label}"
        tensors[key] = Tensor(key, elements, dtype, cls, Persistent(elements, "run") if kept else None, False)
        return key

    weights, grads = declare("param", number, "weight"), declare("grad", gradient, "gradient")
    states = [declare(s, "int8" if optimizer.bits8 else state_dtype, "optimizer", kept=True) for s in optimizer.states]
    if optimizer.bits8:
        states.append(declare("scales", "fp32", "optimizer", elements=size * len(optimizer.states) / 256, kept=True))
    reads, writes = [grads, *states], [*states, weights]
    if master and optimizer.master and number_format(number).bits < 32:
        copy = declare("master", "fp32", "optimizer", kept=True)
        reads.append(copy)
        writes.append(copy)
    else:
        reads.append(weights)
    return Op(
        name=f"{name}.{label}", kind="elementwise", fn=name, path="optimizer",
        reads=tuple(Operand(t) for t in reads), writes=tuple(Operand(t) for t in writes),
        work=BlockBuilder.element_work(name, size), dims={"tensors": number_of}, phase="optimizer",
    )  # fmt: skip


def _with_gradients_in(graph: Graph, dtype: str) -> Graph:
    def changed(tensor: Tensor) -> Tensor:
        return dataclasses.replace(tensor, dtype=dtype) if tensor.cls == "gradient" else tensor

    blocks = tuple(dataclasses.replace(b, tensors={n: changed(t) for n, t in b.tensors.items()}) for b in graph.blocks)
    return graph.replace(blocks=blocks, shared={n: changed(t) for n, t in graph.shared.items()})
