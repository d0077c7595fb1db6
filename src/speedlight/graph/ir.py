"""The IR: tensors, operands, work, ops, folded blocks (DESIGN decisions 2, 7, 8, 10, 11).

Every size is an :class:`~speedlight._foundation.expr.Expr` over named symbols:

========== =====================================================================
symbol     meaning
========== =====================================================================
tokens     Σ count · new over the step's sequence groups (this replica)
seqs       Σ count: sequences in the step
logits     token positions whose logits are computed (1 a sequence; all when training)
groups     number of sequence groups
caching    1 where a KV cache is kept (inference), else 0
training   1 in a training step, else 0
count, new, cached   of one group; only inside ``group_sum``
batch, height, …     a captured module's own free dimensions
tp, ep, …  degrees of the mesh axes
*dims*     the graph's named dimensions (``heads``, ``ffn``, ``vocab`` …), which placement divides
========== =====================================================================

A graph is a list of *blocks*; a block stands for ``count`` equal layers, folded. What an op must do is its ``work``
(FLOPs by unit and number format) and its operands (which tensor, how much of it, how it is accessed).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .._foundation.expr import Expr, const
from .._foundation.formats import bytes_per_element

# The kinds of CONTRACT; `gap` rows are made by the schedule, not by graphs.
KINDS = (
    "matmul", "conv", "attention", "norm", "softmax", "elementwise", "reduction", "embedding", "moe", "scan", "gather",
    "sort", "fft", "collective", "copy", "quantize", "gap", "other",
)  # fmt: skip

# What a tensor is for; the memory ledger's classes follow from it.
TENSOR_CLASSES = (
    "weight", "kv", "state", "activation", "input", "constant", "gradient", "optimizer", "feature_cache", "index",
)  # fmt: skip

ONE = const(1)
ZERO = const(0)


@dataclass(frozen=True, slots=True)
class Dim:
    """A named dimension that placement may divide.

    Attributes:
        size: the unsharded size.
        role: what it counts, which decides the mesh axis and the rule: ``heads``, ``kv_heads``, ``ffn``, ``vocab``,
            ``experts``, ``expert_ffn``, ``state_heads`` or ``none``.
    """

    size: int
    role: str = "none"


@dataclass(frozen=True, slots=True)
class Persistent:
    """What is kept of a tensor beyond the step that made it (DESIGN decision 10).

    Attributes:
        kept: elements that stay allocated while the step runs (all layers' worth of *one* instance of the block).
        lifetime: ``model``, ``sequence`` or ``run``.
        homes: share of it by tier role; shares sum to 1.
        rebuild: FLOPs to compute it again if dropped, or None where it cannot be.
        present: share of its block's instances that keep it at all, 0 to 1: a graph cut at a place that a symbol names.
    """

    kept: Expr
    lifetime: str = "model"
    homes: tuple[tuple[str, float], ...] = (("main", 1.0),)
    rebuild: Expr | None = None
    present: Expr = ONE


@dataclass(frozen=True, slots=True)
class Tensor:
    """A logical tensor.

    Attributes:
        name: unique in its block, or in the graph for shared ones.
        elements: number of elements of one block instance.
        dtype: number format.
        cls: one of :data:`TENSOR_CLASSES`.
        persistent: set for weights, KV caches and states.
        needs_grad: a gradient flows to it when training.
    """

    name: str
    elements: Expr
    dtype: str
    cls: str = "activation"
    persistent: Persistent | None = None
    needs_grad: bool = True

    @property
    def bytes(self) -> Expr:
        return self.elements * bytes_per_element(self.dtype)

    @property
    def kept_elements(self) -> Expr:
        """Elements that stay allocated, of an instance of its block on average."""
        return self.persistent.kept * self.persistent.present if self.persistent else ZERO

    @property
    def kept_bytes(self) -> Expr:
        return self.kept_elements * bytes_per_element(self.dtype)


@dataclass(frozen=True, slots=True)
class Operand:
    """One use of a tensor by an op.

    Attributes:
        tensor: the tensor's name.
        elements: elements touched; None for the whole tensor.
        access: ``streamed``, ``strided`` or ``random``.
        granule: contiguous elements of a strided or random access; None when streamed.
        path: ``copied``, ``zero-copy`` or ``demand-paged``.
        reuse: how often the op needs each element from outside its registers; 1 for a good kernel.
        lag: it uses the value of this many steps ago (DESIGN decision 11).
    """

    tensor: str
    elements: Expr | None = None
    access: str = "streamed"
    granule: Expr | None = None
    path: str = "copied"
    reuse: Expr = ONE
    lag: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """FLOPs of one sort.

    Attributes:
        unit: ``matmul``, ``vector``, ``transcendental`` … (an open vocabulary).
        flops: operations a good kernel must do; a multiply-add is 2.
        format: number format of the multiplication.
        accumulate: accumulator format, or None for the engine's default.
        dense: the unmasked convention where it differs (causal attention), else None.
    """

    unit: str
    flops: Expr
    format: str = "fp32"
    accumulate: str | None = None
    dense: Expr | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Items chosen per token: experts, neurons, adapters, KV pages (DESIGN decision 8).

    Attributes:
        items: number of items (experts) in all.
        picks: items each token picks.
        distribution: ``balanced``, ``uniform`` or ``power:a``; skew changes distinct items and the busiest rank.
        layers: optional per-layer override along the block's layer axis.
        busiest: rows of the busiest rank over the mean rank's, where ranks divide the items unevenly.
    """

    items: Expr
    picks: Expr
    distribution: str = "balanced"
    layers: tuple[float, ...] = ()
    busiest: Expr = ONE

    def distinct(self, tokens: Expr) -> Expr:
        """E[distinct items that ``tokens`` tokens touch], each item equally likely and tokens independent.

        items · (1 − (1 − picks/items)^tokens), the occupancy formula.
        """
        return self.items * (1 - (1 - self.picks / self.items) ** tokens)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What ranks must exchange once ``dims`` are divided among them: placement turns it into a message.

    Attributes:
        kind: ``reduce`` (the op contracts over the dims and leaves partial sums) or ``gather`` (it leaves shards).
        dims: names of the graph's dimensions.
        tensor: the result concerned.
    """

    kind: str
    dims: tuple[str, ...]
    tensor: str


@dataclass(frozen=True, slots=True)
class Message:
    """A collective or point-to-point transfer as an op of its own.

    Attributes:
        collective: ``all_reduce``, ``all_gather``, ``reduce_scatter``, ``all_to_all``, ``broadcast``, ``send_recv``.
        axis: the mesh axes it runs over.
        size: number of ranks.
        bytes: payload per rank (the full tensor for all_reduce, the gathered result for all_gather).
        spans: (size, stride) of each of its axes, innermost first: the ranks of an axis stand ``stride`` devices apart (the
            product of the sizes of the axes inside it); their sizes multiply to ``size``. Empty: neighbours, stride 1.
        copies: of an all_to_all, how many of its rows are the same one, each for a member drawn at random: experts that a token
            picks. A set of ranks needs it only once.
    """

    collective: str
    axis: tuple[str, ...]
    size: Expr
    bytes: Expr
    spans: tuple[tuple[Expr, Expr], ...] = ()
    copies: Expr = ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One logical operator.

    Attributes:
        name: unique in its block.
        kind: one of :data:`KINDS`.
        fn: the finer function (``linear``, ``rms_norm``, ``rope``, ``sdpa``, ``silu`` …); stacks match on it.
        path: module path (``model.layers.*.mlp.up_proj``).
        reads, writes: operands.
        work: FLOPs by unit and format.
        dims: the shape symbols its cost family needs (``m``, ``n``, ``k``, ``batch`` …).
        count: instances in one block instance; may be 0.
        span: dependent steps inside the op (scans, recurrences).
        exchanges: see :class:`Exchange`.
        selection: see :class:`Selection`.
        participation: share of tokens of a class (``prompt``, ``image``, ``generated``) that take part.
        period: it runs once in this many steps.
        message: set for collectives.
        attrs: plain facts (``causal``, ``window``, ``groups`` …).
        phase: ``forward``, ``backward`` or ``optimizer``.
        engine: the engine it is sent to, or None for the machine's first.
    """

    name: str
    kind: str
    fn: str
    path: str = ""
    reads: tuple[Operand, ...] = ()
    writes: tuple[Operand, ...] = ()
    work: tuple[Work, ...] = ()
    dims: Mapping[str, Expr] = field(default_factory=dict)
    count: Expr = ONE
    span: Expr = ONE
    exchanges: tuple[Exchange, ...] = ()
    selection: Selection | None = None
    participation: tuple[tuple[str, Expr], ...] = ()
    period: int = 1
    message: Message | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    phase: str = "forward"
    engine: str | None = None

    def flops(self, unit: str | None = None) -> Expr:
        """FLOPs of one instance, of one unit or of all."""
        return _sum(w.flops for w in self.work if unit in (None, w.unit))


@dataclass(frozen=True, slots=True)
class Block:
    """``count`` equal layers, folded.

    Attributes:
        name: unique in the graph.
        ops: in execution order.
        tensors: the block's own tensors by name; each exists ``count`` times.
        count: instances.
        inputs: tensor names bound from the previous block's outputs (or from this block's own, when repeated).
        outputs: tensor names handed on, positionally.
        layers: the layer indices it stands for, where known (order matters to pipelines, not to sums).
        phase: ``forward``, ``backward`` or ``optimizer``.
    """

    name: str
    ops: tuple[Op, ...]
    tensors: Mapping[str, Tensor]
    count: Expr = ONE
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    phase: str = "forward"


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A model's step; compared by identity, so that plans made from it can be remembered.

    Attributes:
        name: the model.
        blocks: in execution order.
        shared: tensors that exist once and that several blocks may use (embedding tables, tied heads, inputs).
        dims: named dimensions placement may divide.
        symbols: free symbols with their default; None where it is not a number (:mod:`.statistics`) or must be given.
        attrs: plain facts about the model (``family``, ``max_context``, ``unknown_ops`` …).
    """

    name: str
    blocks: tuple[Block, ...]
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    dims: Mapping[str, Dim] = field(default_factory=dict)
    symbols: Mapping[str, float | None] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("shared", "dims", "symbols", "attrs"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def ops(self) -> Iterator[tuple[Block, Op]]:
        for block in self.blocks:
            for op in block.ops:
                yield block, op

    def tensor(self, block: Block, name: str) -> Tensor:
        """The tensor an operand names, in its block or among the shared ones."""
        return block.tensors[name] if name in block.tensors else self.shared[name]

    def replace(self, **changes: Any) -> Graph:
        return dataclasses.replace(self, **changes)


def named_apart(blocks: Iterable[Block]) -> list[Block]:
    """Blocks under names of their own: a name taken before gets a number."""
    taken: set[str] = set()
    result = []
    for block in blocks:
        name, number = block.name, 1
        while name in taken:
            number += 1
            name = f"{block.name}#{number}"
        taken.add(name)
        result.append(dataclasses.replace(block, name=name) if name != block.name else block)
    return result


def _sum(terms: Iterator[Expr]) -> Expr:
    result: Expr = ZERO
    for term in terms:
        result = result + term
    return result
