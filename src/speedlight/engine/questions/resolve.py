"""A scenario's names → values: graph, machine, stack, and what was assumed on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.errors import BadInput, Unsupported
from ..._foundation.expr import evaluate
from ..._foundation.provenance import Assumption
from ...frontends.source import load_graph
from ...graph.ir import Graph
from ...graph.rewrite import rewrite
from ...graph.statistics import complete, unstated
from ...hardware.catalogue import load_machine
from ...hardware.cluster import joined, port_of
from ...hardware.host import with_host
from ...hardware.machine import Machine
from ...lowering.alike import Like, by_kernels
from ...lowering.kernels import Program as LoweredProgram
from ...lowering.ledger import LedgerPlan
from ...lowering.lower import lower
from ...lowering.prepare import as_written, expanded
from ...lowering.remade import remade
from ...lowering.shares import HoldingsPlan
from ...lowering.unfold import unfold
from ...placement.insert import insert_messages
from ...placement.mesh import axes, world
from ...placement.place import dims_of
from ...placement.updates import for_ranks
from ...scenario.scenario import Program, Rewrite, Scenario
from ...stacks.stack import Stack, changed_stack
from ...workload.workload import Workload
from ..programs.ports import check_edges, with_ports


@dataclass(frozen=True, slots=True)
class Resolved:
    """Everything a scenario refers to, loaded.

    Attributes:
        graph, stack: the main program's.
        stages: each program on its own, in order, where there are several; empty for one.
    """

    scenario: Scenario
    graph: Graph
    machine: Machine
    stack: Stack
    assumptions: tuple[Assumption, ...]
    stages: tuple[Resolved, ...] = ()

    @property
    def chain(self) -> tuple[Resolved, ...]:
        """What runs in a call, in order: the stages, or the one program."""
        return self.stages or (self,)

    def mapped(self, function: Callable[[Any], Any]) -> Resolved:
        """The same with ``function`` applied to the numbers of every scenario and machine (:func:`..._foundation.arrays.map_arrays`)."""
        return dataclasses.replace(
            self, scenario=function(self.scenario), machine=function(self.machine),
            stages=tuple(stage.mapped(function) for stage in self.stages),
        )  # fmt: skip

    def with_scenario(self, scenario: Scenario) -> Resolved:
        """The same models, other sizes."""
        stages = tuple(
            dataclasses.replace(stage, scenario=_alone(scenario, program))
            for stage, program in zip(self.stages, scenario.programs, strict=False)
        )
        return dataclasses.replace(self, scenario=scenario, stages=stages)


def resolve(scenario: Scenario) -> Resolved:
    """Load the programs' models, the machine and the stacks.

    Raises:
        BadInput: for names nobody knows and sizes that make no sense.
        Unsupported: for parts of the format this version does not execute.
    """
    if not scenario.programs:
        raise BadInput("the scenario has no program", expected="at least one")
    check_edges(scenario)
    if len(scenario.programs) == 1:
        return _resolve_one(_alone(scenario, scenario.program))
    names = [program.name for program in scenario.programs]
    if len(set(names)) != len(names):
        raise BadInput(
            f"two programs are called {max(names, key=names.count)!r}", expected="a name of its own for each"
        )
    if scenario.main and scenario.main not in names:
        raise BadInput(f"no program is called {scenario.main!r}", expected="one of " + ", ".join(names))
    for program in scenario.programs:
        if program.shares and program.shares not in names:
            raise BadInput(
                f"{program.name} shares the weights of {program.shares!r}", expected="one of " + ", ".join(names)
            )
    stages = tuple(_resolve_one(_alone(scenario, program)) for program in scenario.programs)
    main = stages[names.index(scenario.program.name)]
    return dataclasses.replace(main, scenario=scenario, stages=stages)


def _alone(scenario: Scenario, program: Program) -> Scenario:
    """The same question about one of its programs, on the machine that runs it."""
    if not program.machine or program.machine == scenario.machine:
        return dataclasses.replace(scenario, programs=(program,), main="")
    return dataclasses.replace(scenario, programs=(program,), main="", machine=program.machine, overrides={})


# Figures of a host that a file of a lone card does not state; who states one with the question means a card in a host.
HOSTED = ("tiers.host.", "tiers.nvme.")


def _resolve_one(scenario: Scenario) -> Resolved:
    if scenario.schedule != "serial":
        raise Unsupported(f"the schedule {scenario.schedule!r} is not executed by this version", expected="serial")
    if scenario.serving is not None:
        raise Unsupported(
            "a load is no single step", expected="a scenario without one", hint="`speedlight simulate` answers it"
        )
    if scenario.techniques:
        raise Unsupported(
            f"the technique {scenario.techniques[0].name!r} has not been applied",
            expected="a scenario from speedlight.techniques.applied",
        )
    program = scenario.program
    graph = model_graph(program)
    machine = load_machine(scenario.machine, scenario.machines_dir)
    assumptions: list[Assumption] = []
    stated = any(path.startswith(HOSTED) for path in scenario.overrides)
    if stated or program.workload.places or program.workload.training.offload:
        used = max(float(machine.n_devices), float(np.max(world(program.parallel))))
        machine, said = with_host(machine, used)
        assumptions += said
    if scenario.overrides:
        machine = machine.with_values(scenario.overrides, grade="assumed")
    machine = with_ports(machine, [edge for edge in scenario.edges if edge.source == program.name])
    machine, said = with_fabric(machine, max(int(np.max(world(program.parallel))), _ranks(graph, program.workload)))
    assumptions += said
    name = program.stack
    if name is None:
        name = default_stack(graph, machine, program.workload.phase)
        assumptions.append(Assumption("stack", name, "assumed", "default for this model, machine and phase"))
    stack = changed_stack(name, program.software)
    if machine.kind == "cpu":
        stack = without_device_runtime(stack.on_cpu or stack)
    elif machine.kind in BARE:
        stack = without_device_runtime(stack)
    if program.model.tf32 not in (None, "on", "off"):
        raise BadInput(f"TF32 {program.model.tf32!r}", expected="on or off")
    if program.model.tf32 is not None:
        stack = with_tf32(stack, program.model.tf32 == "on")
    graph = as_written(graph, stack, program.model.autocast)
    return Resolved(scenario, graph, machine, stack, tuple(assumptions))


def model_graph(program: Program) -> Graph:
    """The forward graph of a program's model in its formats."""
    ref = program.model
    train = program.workload.phase == "train"
    graph = load_graph(
        ref.source, ref.inputs, ref.dtype, ref.weights, ref.activations, ref.kv, ref.models_dir, ref.mtp, ref.layout, train
    )  # fmt: skip
    if train:
        from ...graph.backward import training_mode

        graph = training_mode(graph)
    if ref.rewrites:
        graph = _rewritten(graph, ref.rewrites)
    return graph if program.workload.moe_load == "balanced" else _rewritten(graph, (Rewrite("uneven_experts"),))


@lru_cache(maxsize=64)
def _rewritten(graph: Graph, rewrites: tuple[Rewrite, ...]) -> Graph:
    """The graph after the rewrites its reference names, in order."""
    for each in rewrites:
        graph = rewrite(graph, each.name, each.parameters)
    return graph


def default_stack(graph: Graph, machine: Machine, phase: str) -> str:
    """The stack people would use unasked: DESIGN decision 5, as far as it is built.

    Decoder LLMs: vllm on accelerators, llama.cpp on CPUs and Apple silicon, megatron to train them; everything else
    torch-eager. A file that only one engine runs (GGUF) says so in ``graph.attrs["stack"]``.
    """
    generates = graph.attrs.get("generates", False) and "prompt" not in graph.attrs
    if phase == "train":
        return _trainer(machine) if generates else "torch-eager"
    if stated := graph.attrs.get("stack"):
        return str(stated)
    if not generates:
        return "torch-eager"
    return "llama.cpp" if machine.kind in ("cpu", "soc") else "vllm"


# Kinds of machines that hold a compiled program and no context of a driver.
BARE = ("wafer", "dataflow", "in-memory", "fpga", "mcu")


def _trainer(machine: Machine) -> str:
    """What language models are trained with: MaxText on TPUs, Megatron on other accelerators, plain PyTorch on hosts."""
    if machine.kind in ("cpu", "soc"):
        return "torch-eager"
    return "maxtext" if machine.vendor == "google" else "megatron"


# Functions that matrix units run: the ones TF32 is about.
_PRODUCTS = (
    "sdpa", "sdpa_backward", *(f"{fn}{g}" for fn in ("linear", "mm", "bmm", "mv") for g in ("", "_dgrad", "_wgrad")),
    *(f"conv{t}{n}d{g}" for t in ("", "_transpose") for n in (1, 2, 3) for g in ("", "_dgrad", "_wgrad")),
)  # fmt: skip


@lru_cache(maxsize=64)
def with_tf32(stack: Stack, on: bool) -> Stack:
    """The stack with fp32 multiplied in TF32 everywhere, or nowhere (``torch.backends.*.allow_tf32``)."""
    multiply = (("fp32", "tf32"),) if on else ()
    variants = tuple(dataclasses.replace(stack.variant(fn), fn=fn, multiply=multiply) for fn in _PRODUCTS)
    return dataclasses.replace(stack, variants=(*stack.variants, *variants))


@lru_cache(maxsize=64)
def without_device_runtime(stack: Stack) -> Stack:
    """The stack on a host CPU: no device context, and no share of device memory to stay below."""
    reserve = dataclasses.replace(stack.reserve, runtime_bytes=0.0, utilization=1.0)
    about_devices = (f"{stack.name} runtime memory", f"{stack.name} memory utilisation")
    kept = tuple(a for a in stack.assumptions if a.what not in about_devices)
    return dataclasses.replace(stack, reserve=reserve, assumptions=kept)


def _ranks(graph: Graph, workload: Workload) -> int:
    """Devices that the collectives of an op list take part in; 1 for graphs whose messages placement inserts.

    Raises:
        BadInput: for a number of ranks that is not a whole one from 1 to a million.
    """
    most = 1
    for _, op in graph.ops():
        if op.message is None or "ranks" not in op.message.axis:
            continue
        given = {k: v for k, v in graph.symbols.items() if v is not None} | dict(workload.symbols)
        unstated(graph, given)
        values = complete(graph, given)
        ranks = np.asarray(
            evaluate(op.message.size, {k: float(v) if isinstance(v, int) else v for k, v in values.items()})
        )
        if not np.all(np.isfinite(ranks)) or np.any(ranks < 1) or np.any(ranks > 1e6):
            raise BadInput(f"{op.name} is among {ranks} ranks", expected="1 to a million")
        most = max(most, int(np.max(np.ceil(ranks))))
    return most


def with_fabric(machine: Machine, needed: int) -> tuple[Machine, list[Assumption]]:
    """Room for the mesh: a lone device is taken to sit in a box of its kind, joined by its own fastest link.

    Raises:
        BadInput: if a system has fewer devices than the mesh needs.
    """
    if needed <= machine.n_devices:
        return machine, []
    if machine.domains:
        raise BadInput(
            f"the layout needs {needed} devices, {machine.id} has {machine.n_devices}",
            expected=f"tp × cp × dp × pp, and ranks of a collective, ≤ {machine.n_devices}",
            hint=_larger(machine, needed),
        )
    box = joined(machine, needed)
    link = box.domains[0].name
    fact = box.facts.get(f"domains.{link}.bandwidth")
    note = Assumption("system", f"{needed} × {machine.id} joined by {link}", "assumed", fact.source if fact else "")
    return box, [note]


def _larger(machine: Machine, needed: int) -> str:
    """How to get the devices: more boxes, where the machine is one that has a port."""
    if port_of(machine) is None or any(d.role == "scale_out" for d in machine.domains):
        return "use a larger system or smaller degrees"
    return f"use --nodes {-(-needed // machine.n_devices)}, a larger system or smaller degrees"


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What of a training step changes its program: fields of :class:`...workload.workload.Training`.

    Attributes:
        master: whether the optimizer updates a wider copy of narrow weights.
        compiled: the stack compiles forward and backward passes.
    """

    optimizer: str
    recompute: str
    master: bool = True
    gradients: str | None = None
    states: str = "fp32"
    compiled: bool = False


@dataclass(frozen=True)
class Plan:
    """What depends on structure only: the placed, lowered program and its memory plan."""

    graph: Graph
    program: LoweredProgram
    ledger: LedgerPlan

    @cached_property
    def holdings(self) -> HoldingsPlan:
        """What each block of a training step holds."""
        return HoldingsPlan(self.graph)


def planned(resolved: Resolved) -> tuple[Plan, Mapping[str, Value]]:
    """The question's plan, and the values of the graph's dimensions and mesh axes on one rank."""
    program = resolved.scenario.program
    key = None
    if program.workload.phase == "train":
        t = program.workload.training
        compiled = resolved.stack.loops is not None
        key = TrainingPlan(t.optimizer, t.recompute, t.master != "none", t.gradients, t.states, compiled)
    made = plan(resolved.graph, resolved.stack, key, axes(program.parallel))
    return made, {**dims_of(resolved.graph, program.parallel), **RANK}


# Symbols of a rank's program that only a training step on many devices sets otherwise (:mod:`speedlight.placement.updates`).
RANK: Mapping[str, Value] = MappingProxyType({"again": 1.0, "updated": 1.0, "updated_experts": 1.0})


@lru_cache(maxsize=64)
def plan(graph: Graph, stack: Stack, training: TrainingPlan | None, divided: frozenset[str] = frozenset()) -> Plan:
    """Differentiate (for training), place and lower a graph.

    Args:
        training: None for inference.
        divided: what the layout divides beyond tensor parallelism (:func:`speedlight.placement.mesh.axes`).

    The placed graph is the same for every degree: messages are ops whose count is 0 where their axis is 1.
    """
    written = unfold(graph, stack, training is not None)
    complete = written if training is None else _training_graph(written, training)
    shards = training is not None and bool(stack.attrs.get("local_loss", False))
    keeps = training is not None and bool(stack.attrs.get("keeps_gathered", False))
    placed = expanded(insert_messages(complete, divided, shards, keeps), stack)
    if training is not None:
        placed = placed.replace(attrs={**placed.attrs, "remade": remade(placed, stack)})
    return _lowered(placed, by_kernels(stack, placed), bool(stack.attrs.get("holds_arguments")))


@lru_cache(maxsize=64)
def _lowered(placed: Graph, like: Like, calls: bool) -> Plan:
    """One plan for all stacks that make the same kernels of a graph and keep arguments alive alike (``calls``)."""
    return Plan(placed, lower(placed, like.stack), LedgerPlan(placed, calls))


@lru_cache(maxsize=64)
def _training_graph(graph: Graph, training: TrainingPlan) -> Graph:
    from ...graph.backward import add_optimizer, differentiate

    forward = rewrite(graph, "batch_statistics") if graph.attrs.get("kind") == "module" else graph
    return for_ranks(
        add_optimizer(
            differentiate(forward, recompute=training.recompute, compiled=training.compiled), training.optimizer, master=training.master,
            grad_dtype=training.gradients, state_dtype=training.states,
        )
    )  # fmt: skip
