"""The IR's executable grammar: :func:`check` runs after every transform.

Each rule is one small function that yields complaints. A graph that breaks one is our bug, so it raises
:class:`GrammarError`, which is no user error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .._foundation.expr import GROUP_SYMBOLS, Expr, symbols
from .._foundation.formats import is_format
from .ir import KINDS, TENSOR_CLASSES, Graph, Op

STEP_SYMBOLS = frozenset({"tokens", "seqs", "logits", "groups", "caching", "training"})
MESH_AXES = frozenset(
    {"tp", "pp", "dp", "ep", "cp", "etp", "split", "routed", "again", "updated", "updated_experts"}
) | {f"{what}_{carried}" for what in ("wire", "packs") for carried in ("tensor", "experts", "context")}
ACCESSES = ("streamed", "strided", "random")
PHASES = ("forward", "backward", "optimizer")


class GrammarError(AssertionError):
    """A malformed graph: a bug in a frontend or transform."""


def check(graph: Graph) -> Graph:
    """Return the graph unchanged, or raise :class:`GrammarError` with every complaint."""
    complaints = [f"{rule.__name__}: {c}" for rule in RULES for c in rule(graph)]
    if complaints:
        raise GrammarError(f"graph {graph.name!r}:\n  " + "\n  ".join(complaints[:20]))
    return graph


def names_are_unique(graph: Graph) -> Iterator[str]:
    blocks = [b.name for b in graph.blocks]
    if len(set(blocks)) != len(blocks):
        yield f"two blocks share a name: {sorted(b for b in set(blocks) if blocks.count(b) > 1)}"
    for block in graph.blocks:
        ops = [o.name for o in block.ops]
        if len(set(ops)) != len(ops):
            yield f"{block.name}: two ops share a name: {sorted(o for o in set(ops) if ops.count(o) > 1)[:3]}"
        for name, tensor in block.tensors.items():
            if name != tensor.name:
                yield f"{block.name}: tensor {tensor.name!r} is filed under {name!r}"


def vocabulary_is_known(graph: Graph) -> Iterator[str]:
    for block, op in graph.ops():
        if op.kind not in KINDS:
            yield f"{block.name}.{op.name}: kind {op.kind!r}"
        if op.phase not in PHASES:
            yield f"{block.name}.{op.name}: phase {op.phase!r}"
        for work in op.work:
            if not is_format(work.format):
                yield f"{block.name}.{op.name}: work in {work.format!r}"
    for block in graph.blocks:
        for tensor in block.tensors.values():
            if tensor.cls not in TENSOR_CLASSES:
                yield f"{block.name}.{tensor.name}: class {tensor.cls!r}"
            if not is_format(tensor.dtype):
                yield f"{block.name}.{tensor.name}: dtype {tensor.dtype!r}"


def operands_are_declared(graph: Graph) -> Iterator[str]:
    """Every operand names a tensor; an activation is read only after something wrote or handed it in.

    A backward block also reads what its forward block (``attrs["mirrors"]``) left.
    """
    mirrors = graph.attrs.get("mirrors", {})
    forward = {b.name: b for b in graph.blocks if b.phase == "forward"}
    for block in graph.blocks:
        known = set(block.inputs)
        if block.phase == "backward" and mirrors.get(block.name) in forward:
            known |= set(forward[mirrors[block.name]].tensors)
        for op in block.ops:
            for operand in (*op.reads, *op.writes):
                if operand.tensor not in block.tensors and operand.tensor not in graph.shared:
                    yield f"{block.name}.{op.name}: operand {operand.tensor!r} is not declared"
                if operand.access not in ACCESSES:
                    yield f"{block.name}.{op.name}: access {operand.access!r}"
            for operand in op.reads:
                tensor = block.tensors.get(operand.tensor)
                if (
                    tensor is not None
                    and tensor.cls == "activation"
                    and operand.tensor not in known
                    and not operand.lag
                ):
                    yield f"{block.name}.{op.name}: reads {operand.tensor!r} before it is written"
            known.update(w.tensor for w in op.writes)
        for name in block.outputs:
            if name not in known and name not in graph.shared:
                yield f"{block.name}: output {name!r} is never written"


def blocks_join(graph: Graph) -> Iterator[str]:
    """A block takes from the one before it, of its phase, as many tensors as that one hands on."""
    previous = None
    for block in graph.blocks:
        if previous is not None and previous.phase == block.phase and block.inputs:
            if len(block.inputs) > len(previous.outputs):
                yield f"{block.name} takes {len(block.inputs)} tensors, {previous.name} hands on {len(previous.outputs)}"
        if block.inputs and block.outputs and block.count.constant != 1 and len(block.inputs) != len(block.outputs):
            yield f"{block.name} is repeated but takes {len(block.inputs)} and hands on {len(block.outputs)}"
        previous = block


def symbols_are_bound(graph: Graph) -> Iterator[str]:
    allowed = STEP_SYMBOLS | MESH_AXES | set(graph.dims) | set(graph.symbols) | GROUP_SYMBOLS
    for block, op in graph.ops():
        loose = _loose(_amounts(op), allowed)
        if loose:
            yield f"{block.name}.{op.name}: unbound symbols {loose}"
    for block in graph.blocks:
        for tensor in block.tensors.values():
            kept = () if tensor.persistent is None else (tensor.kept_elements,)
            loose = _loose((tensor.elements, *kept), allowed)
            if loose:
                yield f"{block.name}.{tensor.name}: unbound symbols {loose}"


def _amounts(op: Op) -> Iterator[Expr]:
    for work in op.work:
        yield work.flops
    yield op.count
    yield op.span
    yield from op.dims.values()
    if op.message:
        yield op.message.bytes
        yield op.message.size
        for span in op.message.spans:
            yield from span
    for operand in op.reads:
        if operand.elements is not None:
            yield operand.elements
    for operand in op.writes:
        if operand.elements is not None:
            yield operand.elements


def _loose(exprs: Iterable[Expr], allowed: set[str] | frozenset[str]) -> list[str]:
    """Symbols that are not allowed, sorted."""
    found: set[str] = set()
    for expr in exprs:
        used = symbols(expr)
        if not used <= allowed:
            found |= used - allowed
    return sorted(found)


def persistents_are_whole(graph: Graph) -> Iterator[str]:
    """A kept tensor has its record once: where the forward pass declares it, or where the training step makes it.

    Backward and optimizer blocks declare weights and caches they use again, without a record.
    """
    tensors = [(t, b.phase == "forward") for b in graph.blocks for t in b.tensors.values()]
    tensors += [(t, True) for t in graph.shared.values()]
    for tensor, home in tensors:
        wants = ("weight", "kv", "state", "optimizer") if home else ("optimizer",)
        if tensor.cls in wants and tensor.persistent is None:
            yield f"{tensor.name}: a {tensor.cls} without a persistent record"
        if tensor.persistent and abs(sum(s for _, s in tensor.persistent.homes) - 1) > 1e-9:
            yield f"{tensor.name}: home shares do not sum to 1"


def messages_are_collectives(graph: Graph) -> Iterator[str]:
    for block, op in graph.ops():
        if (op.message is not None) != (op.kind == "collective"):
            yield f"{block.name}.{op.name}: kind {op.kind!r} with message {op.message}"
        for exchange in op.exchanges:
            if exchange.kind not in ("reduce", "gather"):
                yield f"{block.name}.{op.name}: exchange {exchange.kind!r}"
            unknown = [d for d in exchange.dims if d not in graph.dims]
            if unknown:
                yield f"{block.name}.{op.name}: exchange over undeclared dims {unknown}"


RULES: tuple[Callable[[Graph], Iterator[str]], ...] = (
    names_are_unique,
    vocabulary_is_known,
    operands_are_declared,
    blocks_join,
    symbols_are_bound,
    persistents_are_whole,
    messages_are_collectives,
)
