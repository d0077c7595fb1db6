"""Measured points → the kernels they run, as any captured module's: what the curves of a machine are fitted to.

A point's operator is captured as the module it stands for and lowered by the stack that ran it, so that a point and a
kernel inside a model are one thing. Operands of a benchmark's loop stay where they are (``residency: repeated``), except
weights taken in turn, which come from main memory as a large model's do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from ..._foundation.errors import SpeedlightError
from ..._foundation.formats import number_format
from ...costs.cost import Conditions
from ...costs.families.module_here import IN_MODEL, REPEATED, SERIAL, sight
from ...costs.families.module_views import TERMS
from ...costs.price import price
from ...costs.refit.solve import Data
from ...costs.refit.whole import Kernels, Sort, Wholes
from ...engine.questions.resolve import Resolved, planned, without_device_runtime
from ...engine.steps.evaluate import kernels_by_sort, sizes_of
from ...engine.steps.phase import free_symbols
from ...frontends.torch_export import capture
from ...graph.backward import training_mode
from ...graph.ir import Block, Graph, Persistent, Tensor
from ...graph.rewrite.attention import written_out_attention
from ...graph.rewrite.numbers import numbers
from ...graph.rewrite.thinned import packed_weights
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ...measurement.bench.evidence import Measurement
from ...measurement.bench.networks import NETWORKS
from ...measurement.bench.operators import FORMATS, INTEGERS, UNPACKED, WRITTEN_OUT, operands, trained
from ...scenario.scenario import ModelRef, Program, Scenario
from ...stacks.stack import Stack, load_stack
from ...workload.workload import Workload, single_step
from .figures import HOST_ONLY, told_apart

FRAMEWORK = "torch-eager"

AS_ASKED = (
    4.0  # times as much as a lone operator a small network counts: models are what is asked about, and points are many
)
LOOSE = 0.1  # width of a median's interval at which a point counts half
FIELDS = ("op", "layout", "phase", "residency")


@dataclass(frozen=True)
class Observed:
    """Points whose kernels are known.

    Attributes:
        points: those points; rows of ``wholes`` in order.
        kernels: by sort; see :class:`~speedlight.costs.refit.whole.Wholes`.
        launches: kernels of each point that the host issues.
        failed: by point, why its kernels are not known.
    """

    points: tuple[Measurement, ...]
    kernels: Mapping[Sort, Kernels]
    launches: np.ndarray
    failed: Mapping[str, str]

    def host(self, hot: float, dispatch: float, backward: float) -> np.ndarray:
        """Seconds of the host: of each launch, in a loop or among others; and of each backward pass. A device that ran alone waited
        for none."""
        several = np.array([p.op in NETWORKS for p in self.points])
        passes = np.array([1.0 if p.sizes.get("backward") else 0.0 for p in self.points])
        calls = np.array([0.0 if p.alone else 1.0 for p in self.points])
        found: np.ndarray = calls * (np.where(several, dispatch, hot) * self.launches + backward * passes)
        return found

    def wholes(self, host: np.ndarray) -> Wholes:
        """With the seconds measured, less the host's.

        Points whose median is known badly count less.
        """
        seconds = np.array([p.median for p in self.points])
        width = np.array([(p.high - p.low) / p.median for p in self.points])
        weight = np.where([p.op in NETWORKS for p in self.points], AS_ASKED, 1.0) / (1.0 + (width / LOOSE) ** 2)
        return Wholes(self.kernels, np.maximum(seconds - host, 0.05 * seconds), weight)


def observe(points: Sequence[Measurement], machine: Machine, page: float) -> Observed:
    """Look at every operator measured.

    Args:
        machine: with the rates that were measured.
        page: seconds a byte of new memory (:func:`.figures.page_seconds`).
    """
    stack = stack_on(machine)
    rows: dict[Sort, list[dict[str, Any]]] = {}
    kept: list[Measurement] = []
    launches: list[float] = []
    failed: dict[str, str] = {}
    for point in points:
        if point.sort not in ("operator", "launch") or point.op in HOST_ONLY or told_apart(point):
            continue
        try:
            found = list(kernels_of(point, machine, stack))
        except SpeedlightError as error:
            failed[point.name] = str(error).splitlines()[0]
            continue
        if not found or any(not sight(k, v, machine, c, page).key["sort"] for k, v, c, _ in found):
            failed[point.name] = "no kernel of a known sort"
            continue
        for kernel, values, cost, count in found:
            seen = sight(kernel, values, machine, cost, page)
            entry = {
                "row": len(kept),
                "count": count,
                "layout": seen.key["layout"],
                "op": seen.key["op"],
                "phase": kernel.phase,
            }
            entry["residency"] = IN_MODEL if point.op in NETWORKS else REPEATED
            entry |= {f"t:{n}": v for n, v in seen.terms.items()}
            entry |= {f"c:{n}": v for n, v in seen.coords(values, Conditions()).items()}
            rows.setdefault((seen.key["sort"],), []).append(entry)
        kept.append(point)
        launches.append(float(sum(c * v.launches for _, v, _, c in found)))
    return Observed(tuple(kept), {sort: _table(own) for sort, own in rows.items()}, np.array(launches), failed)


def stack_on(machine: Machine) -> Stack:
    """PyTorch as it runs a module operator by operator on a machine."""
    stack = load_stack(FRAMEWORK)
    return without_device_runtime(stack.on_cpu or stack) if machine.kind == "cpu" else stack


def _table(rows: Sequence[Mapping[str, Any]]) -> Kernels:
    codes, names = {}, {}
    for field in FIELDS:
        known = tuple(dict.fromkeys(str(r[field]) for r in rows))
        codes[field], names[field] = np.array([known.index(str(r[field])) for r in rows], dtype=np.int32), known
    codes |= {
        field: np.zeros(len(rows), dtype=np.int32) for field in ("device", "architecture", "framework", "version")
    }
    names |= dict.fromkeys(("device", "architecture", "framework", "version"), ("",))

    def column(name: str) -> np.ndarray:
        return np.array([float(r.get(name, 0.0)) for r in rows])

    coords = {name[2:]: column(name) for name in sorted({n for r in rows for n in r}) if name.startswith("c:")}
    ones = np.ones(len(rows))
    data = Data({n: column(f"t:{n}") for n in (*TERMS, *SERIAL)}, coords, codes, names, ones, ones)
    return Kernels(data, np.array([r["row"] for r in rows]), column("count"))


def kernels_of(point: Measurement, machine: Machine, stack: Stack) -> Iterator[tuple[Kernel, KernelValues, Any, float]]:
    """A point's kernels, their numbers, their analytic costs, and how often each runs.

    Raises:
        SpeedlightError: for an operator that cannot be captured.
    """
    graph, phase = graph_of(point)
    training = phase != "forward"
    workload = Workload("train" if training else "forward", batch=1, isl=1)
    scenario = Scenario((Program(ModelRef(point.op), workload, stack=stack.name),), machine.id)
    resolved = Resolved(scenario, graph, machine, stack, ())
    made, dims = planned(resolved)
    step = single_step(workload)
    env, groups, ledger = sizes_of(made, step, machine, stack, dims, free_symbols(graph, workload))
    conditions = Conditions(REPEATED, step=step.name)
    if point.op in NETWORKS:
        conditions = Conditions(IN_MODEL, ledger.by_class["weights"], step=step.name)
    elif point.sizes.get("cold"):
        conditions = Conditions(IN_MODEL, step=step.name)
    for kernel, values, count in kernels_by_sort(made, step, env, groups):
        if kernel.phase == phase:
            yield kernel, values, price(kernel, values, machine, OperatingPoint(), conditions), float(count)


def graph_of(point: Measurement) -> tuple[Graph, str]:
    """The graph of a point's operator, and the phase of it that was measured."""
    sizes = {k: v for k, v in point.sizes.items() if k != "cold"}
    if point.op in REWRITTEN:
        # What such a point runs cannot be captured, or not as one sees it in a model: a rewrite stands for it there too.
        plain, rewritten = REWRITTEN[point.op]
        graph, phase = graph_of(msgspec.structs.replace(point, op=plain, sizes=_plain_sizes(point)))
        return rewritten(graph), phase
    phase = "optimizer" if point.op == "adamw" else "backward" if sizes.get("backward") else "forward"
    made = operands(
        "linear" if phase == "optimizer" else point.op, _small(sizes) if phase == "optimizer" else sizes, "meta"
    )
    inputs = ["x".join(map(str, t.shape)) + _kind(t) for t in made.inputs]
    graph = capture(
        lambda: _held(point, sizes),
        inputs,
        channels_last=bool(sizes.get("last")),
        train=trained(point.sizes) or point.op.endswith("_train"),
        dynamic_batch=False,
        quick=True,
    )
    if phase == "forward":
        return graph, phase
    if phase == "backward":
        graph = graph.replace(
            blocks=tuple(replace(b, tensors=_followed(b.tensors, b)) for b in graph.blocks),
            shared=_followed(graph.shared, *graph.blocks),
        )
    return training_mode(graph), phase


def _kind(tensor: Any) -> str:
    """What an input's text says of its numbers, where they are not fp32."""
    name = str(tensor.dtype).removeprefix("torch.")
    known = {theirs: ours for ours, theirs in FORMATS.items()}
    return "" if name == "float32" else ":" + known.get(name, name)


REWRITTEN: Mapping[str, tuple[str, Callable[[Graph], Graph]]] = {
    INTEGERS: ("linear", lambda graph: numbers(graph, weights="int8", activations="int8", of="*")),
    UNPACKED: ("linear", lambda graph: packed_weights(graph, bits=8.0, unpack=1.0, of="*")),
    WRITTEN_OUT: ("sdpa", lambda graph: written_out_attention(graph, safe=True)),
}


def _plain_sizes(point: Measurement) -> dict[str, Any]:
    sizes = dict(point.sizes)
    length = sizes.pop("length", None)
    return sizes if length is None else {**sizes, "queries": length, "keys": length}


def _small(sizes: Mapping[str, Any]) -> dict[str, Any]:
    return {"m": 1, "n": 1, "k": 1}


def _held(point: Measurement, sizes: Mapping[str, Any]) -> Any:
    """The operator as a module."""
    import torch

    if point.op == "adamw":
        return _Parameters(int(sizes["tensors"]), int(sizes["elements"]))
    made = operands(point.op, sizes)
    if made.module is not None:
        return made.module

    class Held(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterList(torch.nn.Parameter(w) for w in made.weights)

        def forward(self, *inputs: Any) -> Any:
            return made.function(*inputs, *self.weights)

    return Held()


def _Parameters(tensors: int, elements: int) -> Any:
    import torch

    class Parameters(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.held = torch.nn.ParameterList(torch.nn.Parameter(torch.empty(elements)) for _ in range(tensors))

        def forward(self, x: Any) -> Any:
            return sum((x.sum() * p.sum() for p in self.held), start=x.sum())

    return Parameters()


def _followed(tensors: Mapping[str, Tensor], *blocks: Block) -> dict[str, Tensor]:
    """Floating-point inputs as weights, so that gradients flow to them, and through what is made of them."""
    written = {w.tensor for block in blocks for op in block.ops for w in op.writes}

    def followed(tensor: Tensor) -> Tensor:
        if tensor.cls == "input" and number_format(tensor.dtype).kind == "float":
            return replace(tensor, cls="weight", needs_grad=True, persistent=Persistent(tensor.elements))
        return replace(tensor, needs_grad=True) if tensor.name in written and tensor.cls == "activation" else tensor

    return {name: followed(tensor) for name, tensor in tensors.items()}
