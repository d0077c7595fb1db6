"""Graphs of a few ops, built by hand: what may not fuse, what is no equal."""

from __future__ import annotations

from speedlight._foundation.expr import sym
from speedlight.graph.builder import BlockBuilder
from speedlight.graph.grammar import check
from speedlight.graph.ir import Graph, Operand
from speedlight.graph.rewrite import rewrite
from speedlight.lowering.lower import lower
from speedlight.stacks.stack import load_stack

ROWS = sym("batch") * 16


def graph(builder: BlockBuilder, *outs: str) -> Graph:
    return check(Graph("hand", (builder.build(outs),), symbols={"batch": 2}, attrs={"kind": "module"}))


def test_loops_around_a_product_do_not_fuse_past_it() -> None:
    """a = relu(x), y = a + product(a): the sum needs the product, which needs a."""
    b = BlockBuilder("hand", dtype="fp32")
    a = b.elementwise("relu", "relu", [b.input("x", ROWS * 64)], ROWS * 64)
    product = b.linear("product", a, 64, 64, rows=ROWS)
    y = b.elementwise("sum", "add", [a, product], ROWS * 64)
    found = lower(graph(b, y), load_stack("torch-compile")).blocks[0].kernels
    assert [k.members for k in found] == [("relu",), ("product",), ("sum",)]


def test_loops_fuse_around_a_product_that_nothing_between_them_needs() -> None:
    """y = relu(x) + relu(x'), z = product(x): the product stands beside the loops, not between them."""
    b = BlockBuilder("hand", dtype="fp32")
    x = b.input("x", ROWS * 64)
    a = b.elementwise("relu", "relu", [x], ROWS * 64)
    z = b.linear("product", x, 64, 64, rows=ROWS)
    y = b.elementwise("sum", "add", [a, a], ROWS * 64)
    w = b.elementwise("last", "mul", [y, z], ROWS * 64)
    found = lower(graph(b, w), load_stack("torch-compile")).blocks[0].kernels
    assert sorted(k.members for k in found) == [("product",), ("relu", "sum", "last")]
    reads = {a.tensor for k in found if "sum" in k.members for a in k.accesses if not a.write}
    assert reads == {"x", "product.out"}


def test_a_small_loop_that_others_read_too_is_written_once() -> None:
    b = BlockBuilder("hand", dtype="fp32")
    scale = b.elementwise("sigmoid", "sigmoid", [b.input("s", sym("batch") * 64)], sym("batch") * 64)
    y = b.elementwise("scaled", "mul", [b.input("x", ROWS * 64), scale], ROWS * 64)
    alone = lower(graph(b, y), load_stack("torch-compile")).blocks[0].kernels
    assert [k.members for k in alone] == [("sigmoid", "scaled")]
    z = b.linear("product", scale, 64, 64, rows=sym("batch"))
    late = b.elementwise("late", "add", [z, scale], sym("batch") * 64)
    shared = lower(graph(b, y, late), load_stack("torch-compile")).blocks[0].kernels
    assert ("sigmoid",) in [k.members for k in shared]


def test_casts_of_different_tensors_are_different() -> None:
    b = BlockBuilder("hand", dtype="fp32")
    x, y = b.input("x", ROWS), b.input("y", ROWS)
    casts = [b.elementwise(f"cast{i}", "cast", [t], ROWS, kind="copy", dtype="fp16") for i, t in enumerate((x, y, x))]
    out = b.elementwise("sum", "add", [*casts], ROWS)
    merged = rewrite(graph(b, out), "merge_equal")
    assert [op.name for _, op in merged.ops()] == ["cast0", "cast1", "sum"]
    assert merged.blocks[0].ops[-1].reads == (Operand(casts[0]), Operand(casts[1]), Operand(casts[0]))


def test_rotated_layers_take_their_next_ones_weights() -> None:
    """(norm, product) × 3: the norms between layers stand behind products, with weights of their own."""
    b = BlockBuilder("layers", dtype="fp32", count=3)
    x = b.input("x", ROWS * 64)
    y = b.linear("product", b.norm("norm", "layer_norm", x, ROWS, 64), 64, 64, rows=ROWS)
    rotated = rewrite(graph(b, y), "rotate")
    assert [(block.count.constant, [op.name for op in block.ops]) for block in rotated.blocks] == [
        (1, ["norm"]), (2, ["product", "next.norm"]), (1, ["product"]),
    ]  # fmt: skip
    middle = rotated.blocks[1]
    assert {n for n, t in middle.tensors.items() if t.cls == "weight"} == {"product.weight", "next.norm.weight"}
    assert middle.outputs == ("next.norm.out",)
