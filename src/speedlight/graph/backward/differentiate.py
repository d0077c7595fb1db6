"""Forward graph → forward and backward graph.

Each forward block gets a backward block of the same count, in reverse order; it takes the gradients of what the forward
block handed on and hands on those of what it took, position by position. A backward block declares the forward tensors
it reads once more, without their persistent records, so that nothing is kept twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ..._foundation.errors import BadInput
from ..grammar import check
from ..ir import Block, Graph, Op, Operand, Tensor
from .accumulate import Gradients
from .needs import layers, mirror, needs
from .recompute import again, attention_core, operators
from .rules import backward, loss
from .samples import Samples

RECOMPUTE = ("none", "selective", "operators", "full")
LOSSES = frozenset({"cross_entropy", "nll_loss_forward", "mse_loss", "nll_loss2d_forward", "binary_cross_entropy"})


def differentiate(graph: Graph, *, recompute: str = "none", compiled: bool = False) -> Graph:
    """Add the backward pass.

    Args:
        graph: a forward graph of any frontend, checked. The pass starts at its loss if it has one (an op whose result
            nobody reads, or a returned scalar), else at every output of its last block, whose gradients are taken as given.
        recompute: ``none``; ``selective``: written-out attention cores again; ``operators``: all but attention and every other
            matrix product; ``full``: of each layer only its input is kept (which blocks are layers: :func:`.needs.layers`).
        compiled: of what such a rule names, a result that no gradient needs is not kept: a compiler sees that nobody reads it, while
            eager checkpointing holds what its policy says.

    Returns:
        a checked graph with blocks of phase ``backward``, gradients of weights (``grad.<weight>``, class ``gradient``) and

        * ``attrs["saved"]``: forward block → activations that live from its forward to its backward pass. A tensor that
          crosses blocks is listed once: where it is taken in, or where it was made if later blocks only pass it through.
        * ``attrs["saved_whole"]``: the same where nothing is made again;
        * ``attrs["mirrors"]``: backward block → its forward block.

    Raises:
        BadInput: for an unknown kind of recomputation or a graph that is differentiated already.
    """
    if recompute not in RECOMPUTE:
        raise BadInput(f"recomputation {recompute!r} is not known", expected="one of " + ", ".join(RECOMPUTE))
    if any(b.phase != "forward" for b in graph.blocks):
        raise BadInput(f"{graph.name} has a backward pass already", expected="a forward graph")
    graph = graph.replace(blocks=tuple(_with_statistics(b) for b in graph.blocks))
    needed = needs(graph, graph.blocks)
    if not any(needed.values()):
        raise BadInput(f"{graph.name} has no weight that trains", expected="at least one floating-point weight")
    walk = _Walk(graph, needed, recompute)
    made = walk.blocks()
    saved = _saved(graph, made, walk.again, compiled)
    attrs = {
        **graph.attrs, "saved": saved, "saved_whole": _saved(graph, made, {}), "mirrors": {b.name: f.name for f, b in made}, "recompute": recompute,
    }  # fmt: skip
    blocks = (*graph.blocks, *[b for _, b in made])
    return check(graph.replace(blocks=blocks, shared=walk.shared, attrs=attrs))


def _with_statistics(block: Block) -> Block:
    """What only a training step writes: each row's log-sum-exp of fused attention, the cell states of an LSTM."""
    tensors: dict[str, Tensor] = dict(block.tensors)
    ops: list[Op] = []
    for op in block.ops:
        if op.kind == "attention" and {"rows", "heads"} <= set(op.dims):
            name = f"{op.name}.lse"
            tensors[name] = Tensor(name, op.dims["rows"] * op.dims["heads"], "fp32", "activation", None, False)
            op = dataclasses.replace(op, writes=(*op.writes, Operand(name)))
        elif op.kind == "scan" and op.fn == "lstm":
            name, states = f"{op.name}.cell", op.writes[0]
            size = states.elements if states.elements is not None else tensors[states.tensor].elements
            tensors[name] = Tensor(name, size, tensors[states.tensor].dtype, "activation", None, False)
            op = dataclasses.replace(op, writes=(*op.writes, Operand(name)))
        ops.append(op)
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


class _Walk:
    """Builds the backward blocks from the last forward block to the first."""

    def __init__(self, graph: Graph, needed: Mapping[str, frozenset[str]], recompute: str) -> None:
        self.graph, self.needed, self.recompute = graph, needed, recompute
        self.shared: dict[str, Tensor] = dict(graph.shared)
        self.samples = Samples(graph)
        self.layers = layers(graph)
        self.again: dict[str, set[str]] = {}  # forward block → tensors its backward pass makes again
        self._written: set[str] = set()

    def blocks(self) -> list[tuple[Block, Block]]:
        """(forward block, backward block), in the order the backward pass runs."""
        made: list[tuple[Block, Block]] = []
        slots: list[int] | None = None  # positions whose gradients the block behind hands back; None at the start
        forward = self.graph.blocks
        for index in range(len(forward) - 1, -1, -1):
            block = forward[index]
            if not self.needed[block.name]:
                break
            wanted = self._slots(block, slots)
            if made and slots is not None and wanted != slots:
                made[-1] = (made[-1][0], self._handing(made[-1][1], block, wanted, slots))
            built, slots = self._backward(block, wanted, first=not made)
            made.append((block, built))
        return made

    def _repeats(self, block: Block) -> bool:
        return block.count.constant != 1 and bool(block.inputs)

    def _slots(self, block: Block, given: list[int] | None) -> list[int]:
        """Output positions whose gradients this block takes; a repeated block takes what it hands on itself."""
        needed = self.needed[block.name]
        every = [i for i, name in enumerate(block.outputs) if name in needed]
        if self._repeats(block) or given is None:
            return every
        return [i for i in given if i < len(block.outputs)]

    def _handing(self, later: Block, block: Block, wanted: Sequence[int], slots: Sequence[int]) -> Block:
        """The backward block before hands on zeros at positions that it has no gradient for."""
        outputs: list[str] = []
        ops, tensors = list(later.ops), dict(later.tensors)
        for position in wanted:
            if position in slots:
                outputs.append(later.outputs[list(slots).index(position)])
                continue
            source = block.tensors[block.outputs[position]]
            name = f"d.zero.{position}"
            tensors[name] = dataclasses.replace(source, name=name, needs_grad=False)
            ops.append(Op(name=f"{name}.fill", kind="copy", fn="grad_fill", writes=(Operand(name),), phase="backward"))
            outputs.append(name)
        return dataclasses.replace(later, ops=tuple(ops), tensors=tensors, outputs=tuple(outputs))

    def _backward(self, block: Block, wanted: Sequence[int], *, first: bool) -> tuple[Block, list[int]]:
        needed = self.needed[block.name]
        g = Gradients(self.graph, block, needed, self.shared, self._written, self.samples)
        self._recompute(g, block)
        read = {r.tensor for o in block.ops for r in o.reads} | set(block.outputs)  # a loss nobody reads starts it
        starts = [op for op in block.ops if first and op.fn in LOSSES and not any(w.tensor in read for w in op.writes)]
        if starts:
            seeds: Sequence[int] = ()
        elif first:
            scalars = [i for i in wanted if self.graph.tensor(block, block.outputs[i]).elements.constant == 1]
            seeds = scalars or wanted
        else:
            seeds = wanted
        if self._repeats(block):
            seeds = wanted
        for position in seeds:
            g.take(block.outputs[position])
        for op in reversed(block.ops):
            if op in starts:
                loss(g, op)
            else:
                backward(g, op)
        handed: list[str] = []
        slots: list[int] = []
        for position, name in enumerate(block.inputs):
            gradient = g.total(name) if name in needed else None
            if gradient is None and self._repeats(block) and position in wanted:
                gradient = g.zeros(name, block.tensors[name])
            if gradient is not None:
                handed.append(gradient)
                slots.append(position)
        built = Block(
            mirror(block.name), tuple(g.ops), g.tensors, block.count, tuple(g.inputs), tuple(handed), block.layers,
            "backward",
        )  # fmt: skip
        return built, slots

    def _recompute(self, g: Gradients, block: Block) -> None:
        if self.recompute == "none" or block.name not in self.layers:
            return
        chosen = {"selective": attention_core, "operators": operators}.get(self.recompute)
        ops = block.ops if chosen is None else chosen(block)
        for op in again(self.graph, block, ops):
            g.ops.append(op)
            for operand in (*op.reads, *op.writes):
                g.forward(operand.tensor)
        self.again[block.name] = {w.tensor for op in ops for w in op.writes}


def _idle(block: Block) -> set[str]:
    """Ops that are computed again though no gradient needs what they make: the sums behind a layer's last product."""
    wanted = set(block.outputs)
    found: set[str] = set()
    for op in reversed(block.ops):
        if op.attrs.get("recompute") and not any(w.tensor in wanted for w in op.writes):
            found.add(op.name)
            continue
        wanted |= {r.tensor for r in op.reads}
    return found


def _saved(
    graph: Graph, made: Sequence[tuple[Block, Block]], again: Mapping[str, set[str]], compiled: bool = False
) -> dict[str, tuple[str, ...]]:
    """Forward block → activations its backward pass reads and does not make ``again``."""
    kept: dict[str, dict[str, None]] = {b.name: {} for b in graph.blocks}
    order = {b.name: i for i, b in enumerate(graph.blocks)}
    for forward, behind in made:
        again_here = again.get(forward.name, set())
        idle = _idle(behind) if compiled else set()
        for op in behind.ops:
            if op.name in idle or (op.attrs.get("recompute") and not again):
                continue
            for read in op.reads:
                tensor = forward.tensors.get(read.tensor)
                if tensor is not None and tensor.cls == "activation" and read.tensor not in again_here:
                    kept[forward.name][read.tensor] = None
    for block in reversed(graph.blocks):
        for position, name in enumerate(block.inputs):
            passed = position < len(block.outputs) and block.outputs[position] == name
            before = graph.blocks[order[block.name] - 1]
            once = block.count.constant == 1 and before.count.constant != 1  # the last of its producer's instances only
            if name in kept[block.name] and passed and not once:
                # One tensor for all instances, or for all blocks that pass it on: it belongs to its producer.
                del kept[block.name][name]
                kept[before.name][before.outputs[position]] = None
    for index, block in enumerate(graph.blocks):
        after = graph.blocks[index + 1] if index + 1 < len(graph.blocks) else None
        for position, name in enumerate(block.outputs):
            if after is not None and position < len(after.inputs) and after.inputs[position] in kept[after.name]:
                kept[block.name].pop(name, None)  # listed where it is taken in
            elif (
                block.count.constant != 1
                and position < len(block.inputs)
                and block.inputs[position] in kept[block.name]
            ):
                kept[block.name].pop(name, None)
    return {name: tuple(names) for name, names in kept.items() if names}
