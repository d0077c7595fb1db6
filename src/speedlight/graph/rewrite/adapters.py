"""Low-rank adapters: every weight frozen, beside each linear layer two thin ones that train (LoRA, arXiv 2106.09685 §4.1).

y = W·x + B·(A·x), A of r × k, B of n × r. Where placement divides k, A is divided with it and the sum over ranks comes after
the addition; where it divides n, so is B, and every rank has all of A. Over 4-bit weights it is QLoRA (arXiv 2305.14314).
"""

from __future__ import annotations

import dataclasses

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, const
from ..._foundation.formats import number_format
from ..builder import BlockBuilder
from ..ir import Block, Graph, Op, Operand, Persistent, Tensor, Work
from .registry import REWRITES


@REWRITES.register("lora")
def lora(graph: Graph, rank: int = 16, of: str = "", dtype: str = "bf16", tenants: int = 1) -> Graph:
    """The model with adapters; with some already it stays as it is.

    Args:
        rank: r.
        of: names of layers that get one, comma-separated (``q_proj,v_proj``); all linear layers inside blocks by default.
        dtype: format of the adapters' weights.
        tenants: distinct adapters among the sequences: each token multiplies by its own, all of them are kept and read.

    Raises:
        BadInput: for a rank below 1, or names that no linear layer has.
    """
    if graph.attrs.get("lora"):
        return graph
    if isinstance(rank, bool) or int(rank) != rank or rank < 1:
        raise BadInput(f"adapters of rank {rank!r}", expected="a whole number of at least 1")
    wanted = {name.strip() for name in of.split(",") if name.strip()}
    blocks = [_adapted(graph, block, int(rank), wanted, number_format(dtype).name, tenants) for block in graph.blocks]
    if all(new is old for new, old in zip(blocks, graph.blocks, strict=True)):
        if not wanted:
            return graph
        raise BadInput(f"no linear layer of {graph.name} is called {of}", expected="like q_proj,v_proj")
    frozen = [
        dataclasses.replace(b, tensors={n: _frozen(t) for n, t in b.tensors.items()}) for b in blocks
    ]  # fmt: skip
    shared = {name: _frozen(t) for name, t in graph.shared.items()}
    return graph.replace(blocks=tuple(frozen), shared=shared, attrs={**graph.attrs, "lora": int(rank)})


def _frozen(tensor: Tensor) -> Tensor:
    if tensor.cls != "weight" or ".lora_" in tensor.name:
        return tensor
    return dataclasses.replace(tensor, needs_grad=False)


def _adapted(graph: Graph, block: Block, rank: int, wanted: set[str], dtype: str, tenants: int) -> Block:
    ops: list[Op] = []
    tensors = dict(block.tensors)
    changed = False
    for op in block.ops:
        chosen = op.fn == "linear" and op.reads and op.name.rpartition(".")[2] != "lm_head"
        weight = graph.tensor(block, op.reads[1].tensor) if chosen and len(op.reads) > 1 else None
        own = weight is not None and weight.cls == "weight" and weight.name in block.tensors
        if not own or (wanted and op.name.rpartition(".")[2] not in wanted):
            ops.append(op)
            continue
        ops += _beside(graph, block, op, rank, dtype, tensors, tenants)
        changed = True
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors) if changed else block


def _beside(
    graph: Graph, block: Block, op: Op, rank: int, dtype: str, tensors: dict[str, Tensor], tenants: int
) -> list[Op]:
    """The frozen layer, its adapter, and their sum under the name of the layer's result."""
    source, result = op.reads[0], graph.tensor(block, op.writes[0].tensor)
    m, n, k = (op.dims[name] for name in ("m", "n", "k"))
    r = const(rank)

    def tensor(name: str, elements: Expr, kept: bool, number: str) -> str:
        tensors[name] = Tensor(
            name, elements, number, "weight" if kept else "activation", Persistent(elements) if kept else None
        )
        return name

    base = tensor(f"{op.name}.base", result.elements, False, result.dtype)
    down = tensor(f"{op.name}.lora_a.weight", r * k * tenants, True, dtype)
    up = tensor(f"{op.name}.lora_b.weight", n * r * tenants, True, dtype)
    thin = tensor(f"{op.name}.lora_a.out", m * r, False, result.dtype)
    wide = tensor(f"{op.name}.lora_b.out", m * n, False, result.dtype)

    def linear(name: str, reads: tuple[Operand, ...], out: str, width: Expr, depth: Expr) -> Op:
        return Op(
            name=f"{op.name}.{name}", kind="matmul", fn="linear", path=f"{op.path}.{name}", reads=reads, writes=(Operand(out),),
            work=(Work("matmul", 2 * m * width * depth, dtype),),
            dims={"m": m, "n": width, "k": depth, "batch": const(1)}, count=op.count,
        )  # fmt: skip

    total = Op(
        name=f"{op.name}.lora_add", kind="elementwise", fn="add", path=op.path, reads=(Operand(base), Operand(wide)),
        writes=op.writes, work=BlockBuilder.element_work("add", result.elements), count=op.count, exchanges=op.exchanges,
    )  # fmt: skip
    return [
        dataclasses.replace(op, writes=(Operand(base),), exchanges=()),
        linear("lora_a", (source, Operand(down)), thin, r, k),
        linear("lora_b", (Operand(thin), Operand(up)), wide, n, r),
        total,
    ]
