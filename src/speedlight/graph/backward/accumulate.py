"""Gradients of one block while its backward pass is built.

A tensor's gradient is the sum of what each of its readers *contributes*. Contributions are joined when the walk reaches
the tensor's producer:

* one whole contribution is the gradient;
* contributions to disjoint parts (query, key and value slices of one projection) are written into one tensor, which
  costs nothing more; parts nobody writes are filled with zeros;
* anything else is added pairwise by explicit ops (``grad_add``), as autograd does.

*Messages.* A contribution is *partial* over a divided dimension that its op sums over: the dimension appears in what the
op reads, but not in the gradient it writes (the transposes of column-split projections: q, k, v, gate, up). Partial
contributions are added first; one ``reduce`` after their last sum completes them; the others join after it. Head
dimensions (``heads``, ``kv_heads``) are split by the same rule, so having either counts as having both; where
key/value heads are copied because there are fewer than ranks, their gradients' sum over the copies is not modelled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..._foundation.expr import Expr, symbols
from ..builder import BlockBuilder
from ..ir import ZERO, Block, Exchange, Graph, Op, Operand, Persistent, Tensor
from .samples import Samples, gradient_format

_HEADS = frozenset({"heads", "kv_heads", "state_heads"})


@dataclass(frozen=True)
class Contribution:
    """A gradient that one reader adds.

    Attributes:
        name: tensor that holds it.
        part: elements it covers, or None for the whole tensor.
        partial: dimensions it still has to be summed over.
        owned: the tensor was made for this contribution only (and may be renamed).
    """

    name: str
    part: Expr | None
    partial: frozenset[str]
    owned: bool


class Gradients:
    """The backward block of one forward block under construction.

    Attributes:
        needed: activations and weights of the forward block that a gradient flows to.
        shared: the graph's shared tensors; gradients of shared weights are added.
        written: gradients of weights that exist already (a second use accumulates into them).
    """

    def __init__(
        self, graph: Graph, block: Block, needed: frozenset[str], shared: dict[str, Tensor], written: set[str],
        samples: Samples,
    ) -> None:  # fmt: skip
        self.graph, self.block, self.needed = graph, block, needed
        self.shared, self.written, self.samples = shared, written, samples
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.inputs: list[str] = []
        self._given: dict[str, list[Contribution]] = {}
        self._names: set[str] = set(block.tensors) | set(graph.shared)
        self._op_names: set[str] = set()
        self._done: dict[str, str] = {}
        self._pending: list[tuple[str, frozenset[str]]] = []
        self._dims = {name for name, dim in graph.dims.items() if dim.role != "none"}

    # tensors ---------------------------------------------------------------------------------------------------------

    def forward(self, name: str) -> Tensor:
        """A tensor of the forward pass, declared here too: kept records stay where they are counted."""
        tensor = self.graph.tensor(self.block, name)
        if name in self.block.tensors:
            self.tensors.setdefault(name, dataclasses.replace(tensor, persistent=None))
        return tensor

    def make(self, name: str, elements: Expr, dtype: str) -> str:
        """A new activation of the backward pass."""
        free, number = name, 1
        while free in self._names:
            number += 1
            free = f"{name}#{number}"
        self._names.add(free)
        self.tensors[free] = Tensor(free, elements, dtype, "activation", None, False)
        return free

    def take(self, name: str) -> str:
        """A gradient handed in for this forward tensor."""
        tensor = self.forward_only(name)
        made = self.make(f"d.{name}", tensor.elements, gradient_format(tensor.dtype))
        self.inputs.append(made)
        self._given.setdefault(name, []).append(Contribution(made, None, frozenset(), False))
        return made

    def held(self, name: str) -> Tensor:
        """A gradient of this block, or a shared one."""
        return self.tensors[name] if name in self.tensors else self.shared[name]

    def forward_only(self, name: str) -> Tensor:
        return self.graph.tensor(self.block, name)

    # ops -------------------------------------------------------------------------------------------------------------

    def op(self, name: str, kind: str, fn: str, like: Op | None, **fields: Any) -> Op:
        """Add an op of phase backward; it runs as often as the forward op it belongs to."""
        free, number = name, 1
        while free in self._op_names:
            number += 1
            free = f"{name}#{number}"
        self._op_names.add(free)
        if like is not None:
            fields.setdefault("path", like.path)
            fields.setdefault("count", like.count)
            fields.setdefault("selection", like.selection)
        made = Op(name=free, kind=kind, fn=fn, phase="backward", **fields)
        self.ops.append(made)
        for operand in (*made.reads, *made.writes):
            if operand.tensor not in self.tensors and operand.tensor not in self.shared:
                self.forward(operand.tensor)
        return made

    def exchange(self, tensor: str, dims: Iterable[str]) -> None:
        """The last op that writes ``tensor`` leaves partial sums over ``dims``."""
        names = tuple(n for n in self.graph.dims if n in set(dims))
        if not names or tensor not in self.tensors:
            return  # the gradient of a shared table is divided like the table
        position = max(i for i, op in enumerate(self.ops) if any(w.tensor == tensor for w in op.writes))
        op = self.ops[position]
        added = Exchange("reduce", names, tensor)
        self.ops[position] = dataclasses.replace(op, exchanges=(*op.exchanges, added))

    # contributions ---------------------------------------------------------------------------------------------------

    def wants(self, read: Operand) -> bool:
        return read.tensor in self.needed

    def target(self, read: Operand, reads: Iterable[Operand], part: Expr | None = None) -> list[Operand]:
        """Where an op that reads ``reads`` writes the gradient of what ``read`` read.

        Returns:
            the written operand; for the second use of a weight also what it accumulates into (as a read, last).
        """
        tensor = self.forward_only(read.tensor)
        covered = part if part is not None else read.elements
        partial = self._partial(tensor, reads)
        if tensor.cls == "weight":
            return self._weight_target(tensor, read, covered, partial)
        if tensor.name not in self.block.tensors:
            return self._shared_target(tensor, covered)
        elements = tensor.elements if covered is None else covered
        name = self.make(f"d.{tensor.name}", elements, gradient_format(tensor.dtype))
        self._given.setdefault(tensor.name, []).append(Contribution(name, covered, partial, True))
        return [Operand(name)]

    def _weight_target(
        self, tensor: Tensor, read: Operand, part: Expr | None, partial: frozenset[str]
    ) -> list[Operand]:
        name = f"grad.{tensor.name}"
        local = tensor.name in self.block.tensors
        made = Tensor(
            name, tensor.elements, gradient_format(tensor.dtype), "gradient", Persistent(tensor.elements, "run"), False
        )
        (self.tensors if local else self.shared).setdefault(name, made)
        key = f"{self.block.name}/{name}" if local else name
        again = key in self.written
        self.written.add(key)
        if local and partial:
            self._pending.append((name, partial))
        operand = Operand(name, part, read.access, read.granule)
        return [operand, operand] if again else [operand]

    def _shared_target(self, tensor: Tensor, part: Expr | None) -> list[Operand]:
        """An activation that several blocks read: their contributions pile up in one shared gradient."""
        name = f"d.{tensor.name}"
        self.shared.setdefault(
            name, Tensor(name, tensor.elements, gradient_format(tensor.dtype), "activation", None, False)
        )
        again = name in self.written
        self.written.add(name)
        operand = Operand(name, part)
        return [operand, operand] if again else [operand]

    def settle(self) -> None:
        """After an op is added: mark the weight gradients it leaves partial."""
        for name, partial in self._pending:
            self.exchange(name, partial)
        self._pending.clear()

    def alias(self, read: Operand, gradient: str, whole: bool = False) -> None:
        """The gradient of what ``read`` read is ``gradient`` itself."""
        part = None if whole else read.elements
        if read.tensor not in self.block.tensors:
            written = self._shared_target(self.forward_only(read.tensor), part)
            size = part if part is not None else self.forward_only(read.tensor).elements
            self.op(
                f"{written[0].tensor}.add", "elementwise", "grad_add", None, reads=(Operand(gradient), *written[1:]),
                writes=(written[0],), work=BlockBuilder.element_work("add", size),
            )  # fmt: skip
            return
        self._given.setdefault(read.tensor, []).append(Contribution(gradient, part, frozenset(), False))

    def _partial(self, target: Tensor, reads: Iterable[Operand]) -> frozenset[str]:
        summed: set[str] = set()
        for read in reads:
            own = read.tensor in self.tensors or read.tensor in self.shared
            tensor = self.held(read.tensor) if own else self.forward_only(read.tensor)
            summed |= symbols(tensor.elements) & self._dims
        kept = symbols(target.elements) & self._dims
        if any(self.graph.dims[d].role in _HEADS for d in kept):
            kept |= {d for d in summed if self.graph.dims[d].role in _HEADS}
        return frozenset(summed - kept)

    def total(self, name: str) -> str | None:
        """The finished gradient of a forward tensor, or None if nothing contributes."""
        if name not in self.block.tensors:
            return f"d.{name}" if f"d.{name}" in self.written else None
        if name in self._done:  # ops that wrote parts of one tensor share its gradient
            return self._done[name]
        given = self._given.pop(name, [])
        if not given:
            return None
        tensor = self.forward_only(name)
        given = [
            dataclasses.replace(c, part=None)
            if c.part is not None and self.samples.equal(c.part, tensor.elements) and len(given) == 1 else c
            for c in given
        ]  # fmt: skip
        parts = [c for c in given if c.part is not None]
        whole = [c for c in given if c.part is None]
        if not whole:
            whole, parts = [self._joined(tensor, parts)], []
        unsummed = [c for c in whole if c.partial]
        rest = [c for c in whole if not c.partial]
        sums = [self._added(tensor, unsummed)] if unsummed else []
        if sums:
            self.exchange(sums[0].name, frozenset().union(*[c.partial for c in unsummed]))
        for c in parts:
            self.exchange(c.name, c.partial)
        self._done[name] = self._added(tensor, [*sums, *rest, *parts]).name
        return self._done[name]

    def _joined(self, tensor: Tensor, parts: list[Contribution]) -> Contribution:
        """Contributions to parts as one whole gradient."""
        covered: Expr = ZERO
        for c in parts:
            covered = covered + size_of(c, tensor)
        partial = frozenset().union(*[c.partial for c in parts])
        elements, dtype = tensor.elements, gradient_format(tensor.dtype)
        name = self.make(f"d.{tensor.name}", elements, dtype)
        overlap = self.samples.less(elements, covered)
        merged = parts[:1] if overlap else parts
        for c in merged:
            if c.owned:
                self._rename(c.name, name, c.part)
            else:
                self.op(
                    f"{name}.copy", "copy", "grad_copy", None, reads=(Operand(c.name),), writes=(Operand(name, c.part),)
                )
        filled = covered if not overlap else size_of(parts[0], tensor)
        if self.samples.less(filled, elements):
            self.op(f"{name}.fill", "copy", "grad_fill", None, writes=(Operand(name, elements - filled),))
        if not overlap:
            return Contribution(name, None, partial, True)
        result = Contribution(name, None, partial, True)
        for c in parts[1:]:
            size = size_of(c, tensor)
            self.op(
                f"{name}.add", "elementwise", "grad_add", None, reads=(Operand(c.name), Operand(result.name, size)),
                writes=(Operand(result.name, size),), work=BlockBuilder.element_work("add", size),
            )  # fmt: skip
        return result

    def _added(self, tensor: Tensor, terms: list[Contribution]) -> Contribution:
        result = terms[0]
        for term in terms[1:]:
            name = self.make(f"d.{tensor.name}", tensor.elements, gradient_format(tensor.dtype))
            other = Operand(term.name, None if term.owned else term.part)
            self.op(
                f"{name}.add", "elementwise", "grad_add", None, reads=(Operand(result.name), other),
                writes=(Operand(name),), work=BlockBuilder.element_work("add", size_of(term, tensor)),
            )  # fmt: skip
            result = Contribution(name, None, frozenset(), True)
        return result

    def _rename(self, old: str, new: str, part: Expr | None) -> None:
        for position, op in enumerate(self.ops):
            if any(w.tensor == old for w in op.writes):
                writes = tuple(
                    dataclasses.replace(w, tensor=new, elements=part) if w.tensor == old else w for w in op.writes
                )
                self.ops[position] = dataclasses.replace(op, writes=writes)
        del self.tensors[old]

    def zeros(self, name: str, tensor: Tensor) -> str:
        """A gradient that nothing contributes to, where one must be handed on."""
        made = self.make(f"d.{name}", tensor.elements, gradient_format(tensor.dtype))
        self.op(f"{made}.fill", "copy", "grad_fill", None, writes=(Operand(made),))
        return made


def size_of(contribution: Contribution, tensor: Tensor) -> Expr:
    return tensor.elements if contribution.part is None else contribution.part
