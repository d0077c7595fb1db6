"""What a graph amounts to: parameters, FLOPs, persistent bytes; all by evaluating its expressions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._foundation.expr import Expr, compile_tape, evaluate, total
from .ir import ZERO, Block, Graph, Tensor


def unsharded(graph: Graph) -> dict[str, Any]:
    """The graph's dimensions at full size."""
    return {name: dim.size for name, dim in graph.dims.items()}


def persistent_tensors(graph: Graph) -> Iterator[tuple[Block | None, Tensor]]:
    """Every persistent tensor once: a block's own (each stands for ``count``), then shared ones."""
    for block in graph.blocks:
        for tensor in block.tensors.values():
            if tensor.persistent is not None:
                yield block, tensor
    for tensor in graph.shared.values():
        if tensor.persistent is not None:
            yield None, tensor


def kept(graph: Graph, cls: str, *, of_bytes: bool = True) -> Expr:
    """Bytes (or elements) kept of one tensor class, over all blocks."""
    terms = []
    for block, tensor in persistent_tensors(graph):
        if tensor.cls == cls and tensor.persistent is not None:
            size = tensor.kept_bytes if of_bytes else tensor.kept_elements
            terms.append(size * (block.count if block else 1))
    return total(terms)


def parameters(graph: Graph) -> int:
    """Number of parameters, exactly (tied tensors once)."""
    return int(evaluate(kept(graph, "weight", of_bytes=False), unsharded(graph)))


def active_parameters(graph: Graph) -> int:
    """Parameters one token uses: experts count by picks over items; look-up tables do not count as used.

    The usual "A37B"-style figure counts the input embedding; ours adds it back when it is tied to the head.
    """
    terms = []
    apart = graph.attrs.get("apart", ())  # blocks that work on pictures, not on the tokens of a text
    for block in graph.blocks:
        if block.phase != "forward" or block.name in apart:
            continue
        done: set[str] = set()
        for op in block.ops:
            for operand in op.reads:
                tensor = graph.tensor(block, operand.tensor)
                if tensor.cls != "weight" or operand.tensor in done or op.kind == "embedding":
                    continue
                done.add(operand.tensor)
                share: Expr | float = 1
                if op.selection is not None:
                    share = op.selection.picks / op.selection.items
                terms.append(tensor.elements * share * block.count)
    return int(evaluate(total(terms), unsharded(graph)))


def kv_bytes_per_token(graph: Graph) -> float:
    """Bytes a further cached token adds to the KV cache of one sequence, at a long context.

    Sliding-window layers add nothing once their window is full: the slope between two contexts far beyond any
    window; recurrent state does not grow at all. ``bytes_per_token_short`` contexts grow faster.
    """
    return _kv_slope(graph, 10**7)


def kv_bytes_per_token_short(graph: Graph) -> float:
    """Bytes a token adds while every window still grows."""
    return _kv_slope(graph, 8)


def _kv_slope(graph: Graph, context: int) -> float:
    tape = compile_tape([kept(graph, "kv")])
    env = {**graph.symbols, **unsharded(graph), **step_symbols(1, 1, context), "caching": 1, "training": 0}
    low = tape.run(env, [{"count": 1, "new": 1, "cached": context}])[0]
    high = tape.run(env, [{"count": 1, "new": 1, "cached": context + 1024}])[0]
    return float(high - low) / 1024


def step_symbols(count: Any, new: Any, cached: Any) -> dict[str, Any]:
    """The token symbols of a step of one group (``logits``: one position a sequence)."""
    return {"tokens": count * new, "seqs": count, "logits": count, "groups": 1}


def forward_flops(graph: Graph) -> Expr:
    """FLOPs of matrix units in one forward pass."""
    terms = [op.flops("matmul") * op.count * block.count for block, op in graph.ops() if block.phase == "forward"]
    return total(terms) if terms else ZERO
