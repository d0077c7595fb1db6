"""A software stack as a value: what fuses, which kernels exist, host time, reserves (DESIGN decision 5).

Nothing in a stack is a speed-up: rules change kernels and traffic, figures are seconds and bytes with their grade.
:mod:`.stack` reads them from files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .._foundation.arrays import Value
from .._foundation.expr import Expr, const
from .._foundation.provenance import Assumption


@dataclass(frozen=True, slots=True)
class FuseRule:
    """A producer-consumer chain that runs as one kernel: function names, ``|`` for alternatives.

    ``pattern=("add", "rms_norm|layer_norm")`` fuses a residual sum into the norm that follows it; with ``parallel`` the
    members are neighbours that need not feed each other (the rotations of q and k). With ``on_chip`` what one product hands
    to the next stays in registers and shared memory too (small fully fused networks); else it passes through memory.
    """

    name: str
    pattern: tuple[str, ...]
    parallel: bool = False
    on_chip: bool = False

    def matches(self, fns: tuple[str, ...]) -> bool:
        return len(fns) == len(self.pattern) and all(
            want == "*" or fn in want.split("|") for fn, want in zip(fns, self.pattern, strict=True)
        )


@dataclass(frozen=True, slots=True)
class UnfoldStep:
    """One call of a function written out (see :class:`Unfold`).

    Attributes:
        fn: the function called; ``=`` for the op itself.
        out: name of its result inside the rule.
        of: what it reads: results of earlier steps, ``x`` (the op's first operand), or ``q``, ``k``, ``v`` of an attention.
        train: called in training only (dropout).
    """

    fn: str
    out: str
    of: tuple[str, ...]
    train: bool = False


@dataclass(frozen=True, slots=True)
class Unfold:
    """A logical op that the stack runs as several calls; the last step's result is the op's.

    Attributes:
        fn: the function it applies to.
        families: model families whose code is written so; empty for all.
        names: endings of op names (``self_attn.o_proj``); empty for all.
        steps: see :class:`UnfoldStep`.
    """

    fn: str
    families: tuple[str, ...]
    names: tuple[str, ...]
    steps: tuple[UnfoldStep, ...]
    source: str = ""

    def applies(self, fn: str, name: str, family: str) -> bool:
        return (
            fn == self.fn
            and (not self.families or family in self.families)
            and (not self.names or any(name.endswith(n) for n in self.names))
        )


@dataclass(frozen=True, slots=True)
class RuleUse:
    """A graph rewrite that a stack applies, by name, with its parameters (:mod:`speedlight.graph.rewrite` has the rules)."""

    rule: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""


@dataclass(frozen=True, slots=True)
class Loops:
    """How a compiler fuses what is no product: pointwise functions and reductions become loops over memory.

    :mod:`speedlight.lowering.loops` applies it; docs/stacks-for-modules.md explains each field.

    Attributes:
        pointwise, reductions: functions (or kinds) that become loops; anything else is a kernel of a library.
        closed: loops that fuse with what follows, not with what comes before (pooling windows, look-ups).
        epilogues: per kind of product, the pointwise functions (or ``*``) it takes along as its epilogue.
        longest_epilogue: most functions of one epilogue.
        across: a reduction over positions fuses with what makes a channels-last image, whose loops run another way.
        among: loops fuse with each other; without it each runs alone, but for products' epilogues.
    """

    pointwise: tuple[str, ...] = ()
    reductions: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    epilogues: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    longest_epilogue: int = 0
    across: bool = True
    among: bool = True


@dataclass(frozen=True, slots=True)
class KernelVariant:
    """How a stack runs one function.

    Attributes:
        fn: the functions it applies to (``|`` for alternatives).
        launches: kernels started; an expression over the op's shape symbols.
        traffic: activation bytes moved over the least possible (passes through memory of unfused steps).
        workspace: bytes of scratch, an expression over the op's shape symbols.
        multiply: the format a matrix unit is used in instead of the logical one (``fp32`` convolutions as ``tf32``).
        serial: parts that do not overlap inside the kernel; their times add.
        host_s: host time of one launch where it differs from the stack's.
        efficiency: share of the analytic rate reached at equal bytes, where published; None for 1.
        blocks: independent pieces of work the kernel hands to the machine's units, an expression over the op's shape symbols.
            Whole waves of them run: fewer than there are units leave units idle. None: work spreads evenly.
        in_flight: bytes that a block asks of memory before it waits for the first of them, an expression too; None for as many as
            its unit can draw.
        rates: share of a resource's rate that the kernel's instructions can reach (older matrix instructions).
        even: a product's work is dealt out by steps, not by tiles: no unit waits for another's tile (stream-K).
    """

    fn: str
    launches: Expr = const(1)
    traffic: Expr = const(1)
    workspace: Expr = const(0)
    multiply: tuple[tuple[str, str], ...] = ()
    serial: tuple[str, ...] = ()
    efficiency: float | None = None
    source: str = ""
    host_s: float | None = None
    blocks: Expr | None = None
    in_flight: Expr | None = None
    rates: tuple[tuple[str, float], ...] = ()
    even: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """What the host costs.

    Attributes:
        launch_s: host time to issue one kernel (framework dispatch included).
        step_s: host time per step that nothing hides.
        graphs: phases whose launches are captured in a graph and cost the host nothing each.
        inline: the host computes what it issues (a CPU), so that its time adds instead of running ahead.
    """

    launch_s: Value = 0.0
    step_s: Value = 0.0
    graphs: tuple[str, ...] = ()
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Reserve:
    """Memory the stack takes besides tensors.

    Attributes:
        runtime_bytes: context, libraries, communication buffers.
        utilization: share of device memory the stack is willing to fill.
        fragmentation: share of activations lost to the allocator's rounding.
    """

    runtime_bytes: float = 0.0
    utilization: float = 1.0
    fragmentation: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """See the module docstring; compared by identity. ``device_latency`` False drops the launch floor (the ideal stack).

    ``library`` names the framework whose measured kernels it runs, by number format as measurements call it ("" for any), by
    cost family (``mla_decode``), or by both (``moe/fp8``); the most particular entry counts.

    Attributes:
        rewrites: rules for a captured module's forward pass as the framework's own code would run it (before it is
            differentiated); ``expand``: rules that make the kernels a library runs of single calls (after).
        loops: how a compiler fuses the rest; None where nothing but ``fuse`` does.
        autocast: lists of functions of a mixed-precision region, by what happens to their arguments.
        on_cpu: the same stack on a host CPU, where its kernels are another library's.
        unfold, merged_families: how the stack's models are *written*: which calls an op is, and whose query, key and value
            projections are one product. They change the graph before it is differentiated, as ``rewrites`` do.
    """

    name: str
    version: str
    date: str
    description: str = ""
    merge_linears: bool = False
    fuse_all: bool = False
    fuse: tuple[FuseRule, ...] = ()
    unfold: tuple[Unfold, ...] = ()
    merged_families: tuple[str, ...] = ()
    variants: tuple[KernelVariant, ...] = ()
    host: Host = Host()
    reserve: Reserve = Reserve()
    device_latency: bool = True
    library: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    assumptions: tuple[Assumption, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    rewrites: tuple[RuleUse, ...] = ()
    expand: tuple[RuleUse, ...] = ()
    loops: Loops | None = None
    autocast: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    on_cpu: Stack | None = None

    def variant(self, fn: str) -> KernelVariant:
        """The variant that runs this function; later entries win, none means a plain single kernel."""
        for candidate in reversed(self.variants):
            if fn in candidate.fn.split("|"):
                return candidate
        return KernelVariant(fn)

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"
