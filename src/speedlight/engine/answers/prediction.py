"""The answer: a frozen record whose JSON is CONTRACT's ``explain`` object."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.provenance import Assumption
from ..._foundation.registry import Registry
from ..._foundation.version import VERSION
from ...lowering.ledger import Ledger
from ...scenario.scenario import Scenario
from ..programs.stages import Stage, pace

# Views of a prediction live above the engine and are found by entry point, as third parties' are.
RENDERERS: Registry[Callable[[Any], Any]] = Registry("renderer", "speedlight.renderers")


@dataclass(frozen=True, slots=True)
class OpRow:
    """All instances of one kernel (or one gap) on the critical rank.

    Attributes:
        time: exposed seconds of all instances; rows sum to the prediction's time.
        busy: seconds its busiest resource works.
        limit: its speed of light; kernels could overlap, so limits may sum to more than the whole's.
        flops, bytes: required matrix FLOPs; main-memory bytes moved.
    """

    name: str
    path: str
    kind: str
    count: Value
    time: Value
    busy: Value
    limit: Value
    bound: str
    flops: Value
    bytes: Value
    phase: str = "forward"
    step: str = ""

    def to_dict(self) -> dict[str, Any]:
        row = {
            f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name not in ("phase", "step")
        }
        return {**row, "phase": self.phase, "step": self.step}


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the module tree: a module, or a call (:mod:`.layers`).

    Attributes:
        path: the module's, as the model names it; "" for a step or pass of the call.
        name: what of the path its parent does not say.
        section: the step (``prefill``) or pass (``backward``) it belongs to; "" where the call has only one.
        depth: of the node, whose children follow it one deeper.
        rank: place among the layers by time, 1 for the bottleneck; None for what holds layers or is a part of one.
        count: instances, where all of its kernels have the same number.
        share: of the call's time.
        limit: the speed of light of its kernels together.
        why: in words, what binds it and what comes next.
        if_unbound: seconds it would take if what binds it took no time, everything else as it is; ``then`` binds it then.
        rows: indexes of its rows in ``ops``.
    """

    path: str
    name: str
    section: str
    depth: int
    rank: int | None
    count: float | None
    time: float
    share: float
    limit: float
    bound: str
    why: str
    if_unbound: float
    then: str
    rows: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "rows"}


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What one change alone would bring: gain = time before / time after − 1."""

    parameter: str
    change: str
    gain: float


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where the bound changes along one size, everything else as asked."""

    along: str
    at: float
    before: str
    after: str
    of: str = "step"


@dataclass(frozen=True, slots=True)
class PeakFact:
    """The peak an answer measures itself against."""

    format: str
    accumulate: str
    flops: Value
    grade: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of FLOPs and bytes the model understands (None: unknown), and the names of what it does not."""

    flops: float | None = 1.0
    bytes: float = 1.0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a scenario costs. Numbers are floats, or arrays when the scenario holds arrays.

    Attributes:
        time, low, high: seconds of one call of the phase, with the central 80 % interval.
        limit: the speed of light: the least time the hardware's peaks allow for the required work.
        bound: what the time is mostly spent on (a string, or an array of strings).
        flops, flops_dense: required matrix FLOPs over all devices in use; under the unmasked convention.
        bytes: main-memory bytes moved, over all devices.
        mfu, mbu: useful share of the dense matrix peak, of main-memory bandwidth (required bytes).
        hfu: of a training step, ``mfu`` with the FLOPs of recomputation counted too.
        energy, power, cost: joules, watts, dollars of the call; None while nothing predicts them.
        ttft, tpot: of ``generate``.
        least: seconds each resource needs at its peak, over the call: ``limit`` is the largest.
        stages: the programs of a call, where there are several; ``period``: seconds from one call of a steady stream to the next.
        layers: the module tree over ``ops``, every node before its children.
        joint: shared and own errors of the call's time (:func:`..steps.intervals.joint`), where they were asked for.
    """

    scenario: Scenario
    model: Mapping[str, Any]
    machine: Mapping[str, Any]
    stack: str
    phase: str
    layer: str
    time: Value
    low: Value
    high: Value
    limit: Value
    bound: Any
    flops: Value
    flops_dense: Value
    bytes: Value
    mfu: Value
    mbu: Value
    throughput: Mapping[str, Any]
    memory: Ledger
    tiers: Mapping[str, Mapping[str, Any]]
    peak_used: PeakFact | None
    least: Mapping[str, Value]
    ops: tuple[OpRow, ...] = ()
    layers: tuple[Layer, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()
    crossovers: tuple[Crossover, ...] = ()
    coverage: Coverage = Coverage()
    assumptions: tuple[Assumption, ...] = ()
    hfu: Value | None = None
    ttft: Value | None = None
    tpot: Value | None = None
    energy: Value | None = None
    power: Value | None = None
    cost: Value | None = None
    notes: tuple[str, ...] = ()
    period: Value = 0.0
    stages: tuple[Stage, ...] = ()
    joint: tuple[Any, Value] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fits(self) -> Any:
        """Whether the memory ledger stays within the device."""
        return self.memory.fits

    def to_dict(self, *, ops: bool = True) -> dict[str, Any]:
        """CONTRACT's ``explain`` object; NaN and infinities become null."""
        parallel = self.scenario.program.parallel
        peak = self.peak_used
        ledger = self.memory
        result: dict[str, Any] = {
            "schema": 1,
            "speedlight": VERSION,
            "model": dict(self.model),
            "machine": {
                **self.machine,
                "peak_used": None if peak is None else {
                    "format": peak.format, "accumulate": peak.accumulate, "flops": peak.flops, "grade": peak.grade,
                },
            },
            "stack": self.stack,
            "phase": self.phase,
            "parallel": {f.name: getattr(parallel, f.name) for f in dataclasses.fields(parallel)},
            "layer": self.layer,
            "time": self.time, "low": self.low, "high": self.high, "limit": self.limit, "bound": self.bound,
            "flops": self.flops, "flops_dense": self.flops_dense, "bytes": self.bytes, "mfu": self.mfu,
            "hfu": self.hfu, "mbu": self.mbu, "throughput": dict(self.throughput),
            "energy": self.energy, "power": self.power, "cost": self.cost, "ttft": self.ttft, "tpot": self.tpot,
            "memory": {
                "total": ledger.total, "capacity": ledger.capacity, "headroom": ledger.headroom, "fits": ledger.fits,
                "by_class": dict(ledger.by_class), "tiers": {k: dict(v) for k, v in self.tiers.items()},
            },
            "sensitivities": [
                {"parameter": s.parameter, "change": s.change, "gain": s.gain} for s in self.sensitivities
            ],
            "crossovers": [
                {"along": c.along, "at": c.at, "from": c.before, "to": c.after, "of": c.of} for c in self.crossovers
            ],
            "coverage": {
                "flops": self.coverage.flops, "bytes": self.coverage.bytes, "unknown": list(self.coverage.unknown),
            },
            "assumptions": [a.to_dict() for a in self.assumptions],
            "notes": list(self.notes),
            **({"shares": self.attrs["shares"]} if self.attrs.get("shares") else {}),
            **({"experts": self.attrs["experts"]} if self.attrs.get("experts") else {}),
            "scenario": self.attrs.get("hash"),
        }  # fmt: skip
        if self.stages:
            slowest = pace(self.stages)
            result["period"] = self.period
            result["stages"] = [
                {"name": s.name, "time": s.time, "copying": s.copying, "sets_throughput": f"stage:{s.name}" == slowest}
                for s in self.stages
            ]
        if ops:
            result["ops"] = [row.to_dict() for row in self.ops]
            result["layers"] = [layer.to_dict() for layer in self.layers]
        return plain(result)  # type: ignore[no-any-return]

    def to_pandas(self) -> Any:
        """The op rows as a pandas DataFrame (needs pandas)."""
        from ..._foundation.errors import MissingDependency

        try:
            import pandas
        except ImportError:
            raise MissingDependency("pandas", "data", "to_pandas()") from None
        return pandas.DataFrame([row.to_dict() for row in self.ops])

    def _repr_html_(self) -> str:
        return str(RENDERERS.get("html")(self))

    def plot(self) -> Any:
        """A picture of the answer (roofline and bars), shown by notebooks; ``.save(path)`` writes it."""
        return RENDERERS.get("plot")(self)


def plain(value: Any) -> Any:
    """JSON-able: arrays as lists, NaN and infinities as None."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
