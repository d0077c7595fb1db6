"""A placed graph + a stack → kernels: projections merged, chains fused, variants chosen.

Order of decisions, each a pure function over the block's ops:

1. *merge*: linear layers that read the same input run as one (QKV, gate-up), if the stack does so;
2. *fuse*: producer-consumer chains the stack names run as one kernel; with ``fuse_all`` every streaming op joins the
   kernel before it;
3. *variant*: the stack's record for the leading function sets launches, extra passes through memory, formats.

A fused group reads what no member wrote and writes what someone outside still needs, or a product among its members.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from .._foundation.expr import Expr, substitute, symbols, total
from .._foundation.formats import bytes_per_element, dense_of
from ..graph.ir import ONE, Block, Graph, Op, Operand, Work
from ..stacks.stack import KernelVariant, Stack, load_stack
from .kernels import BLOCKS, IN_FLIGHT, Access, Kernel, KernelBlock, KernelWork, Program
from .loops import grouped
from .prepare import expanded

STREAMING = ("norm", "softmax", "elementwise", "reduction", "copy", "quantize", "gather", "embedding")
_FAMILY = {"matmul": "matmul", "moe": "matmul", "conv": "conv", "attention": "attention", "collective": "collective"}


def lower(graph: Graph, stack: Stack) -> Program:
    """Lower every block; the result depends on structure only, so callers cache it by graph and stack."""
    graph = expanded(graph, stack)
    blocks = tuple(
        KernelBlock(block.name, block.count, _kernels(graph, block, stack), block.phase) for block in graph.blocks
    )
    return Program(blocks, {"stack": stack.name, "graph": graph.name})


def alone(graph: Graph) -> Program:
    """Lower as a benchmark of single ops runs them: the ideal stack, one kernel for what feeds on itself."""
    return lower(graph, load_stack("ideal"))


def _kernels(graph: Graph, block: Block, stack: Stack) -> tuple[Kernel, ...]:
    present = [op for op in block.ops if op.count.constant != 0]
    groups = [[op] for op in present]
    if stack.loops is not None:
        groups = grouped(graph, block, present, stack.loops)
    elif stack.merge_linears:
        groups = _merge(block, groups)
    if stack.fuse_all:
        groups = _wrap(block, _fuse_everything(groups), lambda last, first: all(o.kind in STREAMING for o in first))
    elif stack.loops is None:

        def named(last: list[Op], first: list[Op]) -> bool:
            return any(r.matches(tuple(o.fn for o in (*last, *first))) for r in stack.fuse)

        groups = _fuse(_wrap(block, groups, named), stack)
    elif stack.fuse:
        groups = _fuse(groups, stack)
    needed = _last_reader(groups, block)
    for name in graph.attrs.get("saved", {}).get(block.name, ()):
        needed[name] = len(groups)  # the backward pass reads it
    return tuple(_kernel(graph, block, group, index, needed, stack) for index, group in enumerate(groups))


def _merge(block: Block, groups: list[list[Op]]) -> list[list[Op]]:
    """Join linear layers of equal input and format, at the first one's place."""
    joined: dict[tuple[object, ...], list[Op]] = {}
    result: list[list[Op]] = []
    for group in groups:
        op = group[0]
        if op.fn not in ("linear", "grouped_linear") or op.phase != "forward":
            result.append(group)
            continue
        source = op.reads[0].tensor
        parent = op.path.rpartition(".")[0]  # siblings of one module: q, k, v; gate and up
        key = (parent, source, op.fn, op.work[0].format, op.count, op.dims["k"], op.dims["m"])
        if key in joined and not op.exchanges and not joined[key][0].exchanges:
            joined[key].append(op)
        else:
            joined[key] = group
            result.append(group)
    return result


def _fuse(groups: list[list[Op]], stack: Stack) -> list[list[Op]]:
    """Apply the stack's chains, longest first, to neighbours that feed each other; merged projections count as one."""
    rules = sorted(stack.fuse, key=lambda r: -len(r.pattern))
    result: list[list[Op]] = []
    i = 0
    while i < len(groups):
        for rule in rules:
            span = groups[i : i + len(rule.pattern)]
            if len(span) == len(rule.pattern) and rule.matches(tuple(_function(g) for g in span)):
                if rule.parallel or all(_hands_on(a, b) for a, b in itertools.pairwise(span)):
                    result.append([op for g in span for op in g])
                    i += len(span)
                    break
        else:
            result.append(groups[i])
            i += 1
    return result


def _function(group: Sequence[Op]) -> str:
    """What a group does: its ops' common function (merged projections), or nothing a rule could name."""
    first = group[0].fn
    return first if all(op.fn == first for op in group) else ""


def _hands_on(before: Sequence[Op], after: Sequence[Op]) -> bool:
    return any(_feeds(a, b) for a in before for b in after)


def _wrap(block: Block, groups: list[list[Op]], joins: Callable[[list[Op], list[Op]], bool]) -> list[list[Op]]:
    """A repeated block's last kernel and the next instance's first are neighbours too (a residual sum and its norm).

    Where they join they are booked at the front, as what the previous instance left to do.
    """
    if block.count.constant == 1 or len(block.inputs) != 1 or len(block.outputs) != 1 or len(groups) < 3:
        return groups
    handed, taken = block.outputs[0], block.inputs[0]
    last, first = groups[-1], [_renamed(op, taken, handed) for op in groups[0]]
    written = any(w.tensor == handed for op in last for w in op.writes)
    if not written or not any(_feeds(op, first[0]) for op in last) or not joins(last, first):
        return groups
    return [[*last, *first], *groups[1:-1]]


def _renamed(op: Op, old: str, new: str) -> Op:
    reads = tuple(dataclasses.replace(r, tensor=new) if r.tensor == old else r for r in op.reads)
    return dataclasses.replace(op, reads=reads)


def _fuse_everything(groups: list[list[Op]]) -> list[list[Op]]:
    """Every streaming op joins the kernel before it when it consumes its result (the ideal stack's epilogues)."""
    result: list[list[Op]] = []
    for group in groups:
        op = group[0]
        previous = result[-1] if result else None
        if previous and op.kind in STREAMING and previous[-1].kind != "collective":
            fed = any(_feeds(before, op) for before in previous) and previous[-1].count == op.count
            if fed and not _picks(op, previous):
                previous.append(op)
                continue
        result.append(list(group))
    return result


def _feeds(producer: Op, consumer: Op) -> bool:
    written = {w.tensor for w in producer.writes}
    return producer.count == consumer.count and any(r.tensor in written for r in consumer.reads)


def _picks(consumer: Op, producers: Sequence[Op]) -> bool:
    """Whether it reads what they wrote at random: it must wait until all of that is there, so no epilogue does it."""
    written = {w.tensor for op in producers for w in op.writes}
    return any(r.access == "random" and r.tensor in written for r in consumer.reads)


def _last_reader(groups: list[list[Op]], block: Block) -> dict[str, int]:
    """Index of the last group that reads each tensor; block outputs are read for ever."""
    last: dict[str, int] = {}
    for index, group in enumerate(groups):
        for op in group:
            for read in op.reads:
                last[read.tensor] = index
    for name in block.outputs:
        last[name] = len(groups)
    return last


def _kernel(
    graph: Graph, block: Block, group: Sequence[Op], index: int, needed: dict[str, int], stack: Stack
) -> Kernel:
    lead = _lead(group) if stack.loops is None else _reducing(group)
    variant = stack.variant(lead.fn)
    written = {w.tensor for op in group for w in op.writes}
    # What a product inside the group takes from another member passes through memory all the same: products do not fuse.
    # Only a kernel made for such a chain keeps it on the chip.
    passing = {r.tensor for op in group if op.kind in _FAMILY for r in op.reads if r.tensor in written}
    if passing and _stays_on_chip(group, stack):
        passing = set()
    accesses: dict[tuple[object, ...], Access] = {}
    before: set[str] = set()  # an op that changes a state or an optimizer's moments in place reads them all the same
    for op in group:
        for operand in op.reads:
            if operand.tensor not in before or (operand.tensor in passing and op.kind in _FAMILY):
                _touch(accesses, graph, block, op, operand, write=False)
        for operand in op.writes:
            tensor = graph.tensor(block, operand.tensor)
            if (
                len(group) == 1
                or tensor.persistent
                or operand.tensor in passing
                or needed.get(operand.tensor, -1) > index
                or _dangling(tensor.name, needed)
            ):
                _touch(accesses, graph, block, op, operand, write=True)
        before.update(w.tensor for w in op.writes)
    dims = _merged_dims(group) if len(group) > 1 and all(o.fn == lead.fn for o in group) else dict(lead.dims)
    if variant.blocks is not None:
        stated = {BLOCKS: variant.blocks, IN_FLIGHT: variant.in_flight}
        dims |= {name: _with_dims(e, dims) for name, e in stated.items() if e is not None}
    found = list(accesses.values())
    if variant.traffic.constant != 1:
        found = [_more_traffic(a, variant, dims) for a in found]
    if passing:  # several products: a module of its own
        path = lead.path.rpartition(".")[0]
        name = path.rpartition(".")[2]
    else:
        name = "+".join(o.name.rsplit(".", 1)[-1] for o in group) if len(group) > 1 else lead.name
        path = lead.path if len(group) == 1 else _common_path(group)
    return Kernel(
        name=name,
        path=path,
        kind=lead.kind,
        fn=lead.fn,
        family=_FAMILY.get(lead.kind, "stream"),
        members=tuple(o.name for o in group),
        work=_work(group, variant),
        accesses=tuple(found),
        dims=dims,
        count=lead.count,
        launches=_with_dims(variant.launches, dims),
        span=lead.span,
        workspace=_with_dims(variant.workspace, dims),
        message=lead.message,
        serial=variant.serial,
        efficiency=variant.efficiency,
        rates=variant.rates,
        even=variant.even,
        host_s=variant.host_s,
        library=stack.library,
        attrs=lead.attrs,
        phase=lead.phase,
    )


def _stays_on_chip(group: Sequence[Op], stack: Stack) -> bool:
    fns = tuple(op.fn for op in group)
    return any(rule.on_chip and rule.matches(fns) for rule in stack.fuse)


def _dangling(name: str, needed: dict[str, int]) -> bool:
    """A result nobody in the block reads (logits, losses) still has to be written."""
    return name not in needed


def _lead(group: Sequence[Op]) -> Op:
    """The op that names a fused kernel: its matrix product or attention if it has one, else the last."""
    for op in group:
        if op.kind in _FAMILY:
            return op
    return group[-1]


def _reducing(group: Sequence[Op]) -> Op:
    """The op that names a loop: a product, else what it reduces, else the last."""
    for kinds in (tuple(_FAMILY), ("norm", "softmax"), ("reduction",)):
        for op in group:
            if op.kind in kinds and (op.fn != "batch_norm" or op.attrs.get("training")):
                return op
    return group[-1]


def _touch(
    accesses: dict[tuple[object, ...], Access], graph: Graph, block: Block, op: Op, operand: Operand, *, write: bool
) -> None:
    tensor = graph.tensor(block, operand.tensor)
    per_element = bytes_per_element(tensor.dtype)
    whole = tensor.elements * per_element
    moved = whole if operand.elements is None else operand.elements * per_element
    if operand.reuse is not ONE:
        moved = moved * operand.reuse
    granule = None if operand.granule is None else operand.granule * per_element
    key: tuple[object, ...] = (operand.tensor, write)
    if sum(o.tensor == operand.tensor for o in (op.writes if write else op.reads)) > 1:
        key = (*key, granule)  # one op that reads a tensor in order and at random does both
    if key in accesses:
        # Two members touch one tensor: a good fused kernel reads it once, unless they touch different parts of it.
        if accesses[key].bytes == moved or operand.elements is None:
            return
        moved = accesses[key].bytes + moved
    # KV caches and states are read per step through their operands; weights by their own size.
    kept = tensor.persistent.kept if tensor.persistent else tensor.elements
    size = kept * per_element if kept is not tensor.elements else whole
    home = tensor.persistent.homes if tensor.persistent else (("main", 1.0),)
    accesses[key] = Access(
        operand.tensor, tensor.cls, moved, size, write, granule, home, operand.path, format=tensor.dtype
    )  # fmt: skip


def _work(group: Sequence[Op], variant: KernelVariant) -> tuple[KernelWork, ...]:
    multiply = dict(variant.multiply)
    sums: dict[tuple[str, str, str | None], list[Work]] = {}
    for op in group:
        for work in op.work:
            number = work.format
            if work.unit == "matmul" and dense_of(number) in multiply:
                number = multiply[dense_of(number)] + number.removeprefix(dense_of(number))
            sums.setdefault((work.unit, number, work.accumulate), []).append(work)
    return tuple(
        KernelWork(
            unit, number, accumulate, total(w.flops for w in works),
            total(w.flops if w.dense is None else w.dense for w in works),
        )
        for (unit, number, accumulate), works in sums.items()
    )  # fmt: skip


def _merged_dims(group: Sequence[Op]) -> dict[str, Expr]:
    """Linear layers side by side: their output features add."""
    dims = dict(group[0].dims)
    if "n" in dims:
        dims["n"] = total(op.dims["n"] for op in group)
    return dims


def _more_traffic(access: Access, variant: KernelVariant, dims: dict[str, Expr]) -> Access:
    if access.cls in ("weight", "kv", "state"):
        return access
    return dataclasses.replace(access, bytes=access.bytes * _with_dims(variant.traffic, dims))


def _with_dims(expr: Expr, dims: dict[str, Expr]) -> Expr:
    """A variant's expression over the op's shape symbols (``m``, ``n``, ``rows`` …)."""
    if expr.constant is not None:
        return expr
    used = symbols(expr)
    return substitute(expr, {name: dims[name] for name in used if name in dims})


def _common_path(group: Sequence[Op]) -> str:
    parts = [op.path.split(".") for op in group]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    names = ["+".join(dict.fromkeys(".".join(p[len(common) :]) for p in parts))]
    return ".".join(common + names)
