"""The frozen question: programs, machine, operating point, policies (DESIGN, "The line everything flows along").

A scenario refers to models, machines and stacks by name or file; the engine resolves them. It holds a list of *programs*,
run one after the other, each so many times in a call; the times add and all weights stay in memory. Edges between them add what
is handed on: bytes over a link, so often, with a probability. A program may run on a machine of its own. Every numeric field
may be an array.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..hardware.machine import OperatingPoint
from ..workload.workload import Workload
from .serving import Serving

Value = Any


@dataclass(frozen=True, slots=True)
class Wire:
    """How messages of one sort travel where it is not as the layout has it: packed, seldom, late, beside computation.

    Attributes:
        carries: ``tensor`` (partial sums and tokens of tensor parallelism), ``experts``, ``context``, ``gradients``, ``weights``
            (gathered shards), ``stages``.
        share: bytes on the links over the payload's own, scales and indices included.
        collective: of ``gradients``: ``all_gather`` where what ranks send does not add up (chosen elements with their indices).
        passes: times the whole payload is read or written in the device's memory to pack and unpack it.
        kept: bytes kept from step to step over the payload's own (error feedback).
        period: sent once in so many steps (local SGD); of what ZeRO sends for every micro-batch, in so many of those.
        lag: results are used so many steps late; messages then have a step to hide in.
        beside: what computes while they travel: ``product`` (the one that makes or takes them, in ``parts``), ``half`` (the
            other half of the batch or sequence), ``attention`` (of the same layer), ``block`` (all of a layer that does not wait for them); empty as the stack has it.
        parts: pieces of ``product``.
        units: share of the compute units that hidden messages' kernels hold, 0–1.
        stays: of ``experts``: share of (token, expert) pairs that meet on the token's own rank; None for the even spread's 1/ep.
    """

    carries: str
    share: Value = 1.0
    collective: str = ""
    passes: Value = 0.0
    kept: Value = 0.0
    period: Value = 1.0
    lag: int = 0
    beside: str = ""
    parts: Value = 1.0
    units: Value = 0.0
    stays: Value | None = None


@dataclass(frozen=True, slots=True)
class Parallel:
    """Degrees of the mesh axes; every number broadcasts. Axes from the inside out: tp, cp, dp, pp; experts lie over tp · cp · dp.

    Attributes:
        tp: tensor parallel: heads, feed-forward widths and the vocabulary are divided.
        ep: expert parallel: experts are divided by ep. The ep · etp ranks that hold one copy of all experts lie within the
            tensor-parallel ranks where they fit, else they reach over cp and dp (replicas of everything but experts).
        dp: replicas (inference: independent, their requests add up; training: the global batch is divided among them).
        pp: pipeline stages.
        cp: context parallel: tokens of a sequence are divided.
        zero: what is sharded over ``shard`` ranks: 1 optimizer states, 2 and gradients, 3 and weights (FSDP); 0 nothing.
        shard: ranks a ZeRO shard spreads over (hybrid sharding); None for all dp · cp.
        sp: 1 where what tensor parallelism leaves whole is divided by tokens (Megatron's sequence parallelism), else 0.
        etp: ranks that divide an expert's width; None for tp / ep where experts lie within tp, else 1.
        context: how cp ranks see each other's keys and values: ``ring``, ``ulysses`` or ``gather``.
        first, last: layers of the first and the last stage, where they differ from an even deal.
        stages: layers of every stage, where they are dealt by hand; of ``pp`` entries (with virtual stages pp · virtual).
        wires: how sorts of messages travel, where not as the layout has it; each sort at most once.
        near: ranks a second copy of sharded weights spreads over, from which backward passes gather them (ZeRO++ hpZ); None
            for none.
    """

    tp: Value = 1
    ep: Value = 1
    dp: Value = 1
    pp: Value = 1
    cp: Value = 1
    zero: Value = 0
    shard: Value | None = None
    sp: Value = 0
    etp: Value | None = None
    context: str = "ring"
    first: Value | None = None
    last: Value | None = None
    stages: tuple[int, ...] = ()
    wires: tuple[Wire, ...] = ()
    near: Value | None = None

    def wire(self, carries: str) -> Wire:
        """How a sort of messages travels."""
        return next((w for w in self.wires if w.carries == carries), Wire(carries))


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A named graph rewrite with parameters."""

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where a model comes from and in which formats it runs.

    Attributes:
        source: a path, a bundled or hub id, or ``file.py:factory``.
        inputs: input shapes of a captured module (``1x3x224x224:fp32``).
        dtype: everything in this format; ``weights``, ``activations``, ``kv`` change one part. None: as configured.
        models_dir: a folder of further configurations.
        rewrites: graph rewrites by name, applied before the stack's own (:mod:`speedlight.graph.rewrite`).
        mtp: draft passes of the model's multi-token prediction modules that a step runs after the main model; 0 for none.
        autocast: the low format (``fp16``, ``bf16``) of a mixed-precision region around a forward pass; None for none.
        tf32: ``on`` or ``off`` for fp32 products and convolutions alike; None as the stack has it.
        layout: how a captured module's images lie: ``channels_last``, or None for channels before rows.
    """

    source: str
    inputs: tuple[str, ...] = ()
    dtype: str | None = None
    weights: str | None = None
    activations: str | None = None
    kv: str | None = None
    models_dir: str | None = None
    rewrites: tuple[Rewrite, ...] = ()
    mtp: int = 0
    autocast: str | None = None
    layout: str | None = None
    tf32: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """One model doing one sort of work under one stack.

    Attributes:
        repeats: how often it runs in one call of the scenario (denoising steps); a share of 1 where one call in several does.
        machine: an id or a file, where it runs elsewhere than the scenario's machine; empty for there.
        shares: name of another program whose weights and cache it uses (a draft by some of a model's own layers), or empty. Weights
            in another format are a copy all the same.
        software: changes to its stack, in a stack file's own words (``{"host": {"graphs": ["decode"]}}``): what a technique
            puts into it (:func:`speedlight.stacks.stack.changed_stack`).
    """

    model: ModelRef
    workload: Workload = Workload()
    parallel: Parallel = Parallel()
    stack: str | None = None
    name: str = "main"
    repeats: Value = 1
    software: Mapping[str, object] = field(default_factory=dict)
    shares: str = ""
    machine: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "software", MappingProxyType(dict(self.software)))


@dataclass(frozen=True, slots=True)
class Edge:
    """What one program hands to another.

    Attributes:
        source, target: names of programs, in the order they run; an empty target is whoever asked, who gets the result.
        bytes: of one transfer.
        link: name of a link or domain of the source's machine, or a rate (``100 Mbit/s``, ``12 MB/s``).
        repeats, probability: how often it happens in a call.
        latency_s: seconds on the way beside the link's own; nothing is sent of no bytes, which takes none.
    """

    source: str
    target: str
    bytes: Value = 0.0
    link: str = ""
    repeats: Value = 1
    probability: Value = 1.0
    latency_s: Value = 0.0


@dataclass(frozen=True, slots=True)
class Technique:
    """A named technique with parameters; edits the scenario before it is priced."""

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """See the module docstring.

    Attributes:
        machine: an id, a file, or ``here``.
        overrides: machine figures stated with the question, by dotted path (``tiers.hbm.bandwidth``).
        schedule: name of the schedule policy; ``serial`` is executed.
        serving: a load and the engines it meets, which `simulate` answers for; None for a single request or step.
        main: name of the program that the question is about; the first one's where empty.
    """

    programs: tuple[Program, ...]
    machine: str
    overrides: Mapping[str, Value] = field(default_factory=dict)
    point: OperatingPoint = OperatingPoint()
    schedule: str = "serial"
    serving: Serving | None = None
    edges: tuple[Edge, ...] = ()
    techniques: tuple[Technique, ...] = ()
    machines_dir: str | None = None
    note: str = ""
    main: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "overrides", MappingProxyType(dict(self.overrides)))

    @property
    def program(self) -> Program:
        """The program that the question is about."""
        return self.programs[self._main()]

    def _main(self) -> int:
        return next((i for i, p in enumerate(self.programs) if self.main and p.name == self.main), 0)

    def with_program(self, **changes: Any) -> Scenario:
        """A copy with fields of the main program replaced."""
        main = self._main()
        changed = dataclasses.replace(self.programs[main], **changes)
        return dataclasses.replace(self, programs=(*self.programs[:main], changed, *self.programs[main + 1 :]))

    def with_workload(self, **changes: Any) -> Scenario:
        return self.with_program(workload=dataclasses.replace(self.program.workload, **changes))

    def replace(self, **changes: Any) -> Scenario:
        return dataclasses.replace(self, **changes)
