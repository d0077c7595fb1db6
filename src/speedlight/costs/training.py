"""What kernels take longer (or shorter) in a training step than their own measurements say: one factor a class of kernels.

Kernels are measured alone, looping on a cool chip. In a training step matrix units run for seconds at the power limit, messages
of other streams take units and bandwidth, backward passes run kernels no table has. What is left after physics is one factor
for each class of kernels (products, attention, streams, messages …), a sum of logs over what a kernel's key matches:

    log factor = Σ log of every entry whose ``where`` is part of {class, pass, stack, release, architecture, device, format}

An entry without an architecture holds for devices never measured, one without a stack for stacks never measured. Entries are
shrunk towards zero when they are fitted (:mod:`speedlight.validation.training.fit`), so that what few rows say changes little.
A stack that names no ``training`` in its library is left as it is; ``release`` is the ``training/release`` of its library: one name
for all versions of a stack whose kernels of a class did not change.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from .._foundation.arrays import Value, maximum
from .._foundation.formats import number_format
from ..hardware.machine import Machine
from ..lowering.kernels import Kernel
from .cost import Cost

NAME, RELEASE = "training", "training/release"
FILE = "training.json"
CLASSES = (
    "product", "experts", "bmm", "conv", "attention", "scan", "stream", "optimizer", "message_tp", "message_dp", "message_ep",
    "message_pp", "message_cp", "launch",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: the part of a key it holds for, and the logarithm of its factor (an array asks about several at once)."""

    where: tuple[tuple[str, str], ...]
    log: Value

    def holds(self, key: Mapping[str, str]) -> bool:
        return all(key.get(name) == value for name, value in self.where)


@dataclass(frozen=True, eq=False)
class TrainingFit:
    """Entries, the header that says where they come from, and how far whole steps err.

    Attributes:
        header: ``id``, ``date``, ``tables``, ``cross_validation`` as every fit's.
        spread: ``stack|dense`` or ``stack|experts`` → logs of the ends of the 80 % interval of measured over predicted, with
            groups (model, device) left out; ``|dense`` and ``|experts`` with whole sources left out, for stacks never seen.
        seen: (stack, architecture) pairs it was fitted to.
    """

    header: Mapping[str, Any]
    entries: tuple[Entry, ...]
    spread: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    seen: frozenset[tuple[str, str]] = frozenset()

    def log(self, key: Mapping[str, str]) -> Value:
        return sum((e.log for e in self.entries if e.holds(key)), start=0.0)

    def ends(self, stack: str, architecture: str, experts: bool) -> tuple[float, float] | None:
        """Logs of the ends of a step's 80 % interval over its time: of a stack's own errors where it was fitted on this
        architecture, else of sources left out; None where nothing was fitted."""
        kind = "experts" if experts else "dense"
        own = f"{stack}|{kind}" if (stack, architecture) in self.seen else ""
        return self.spread.get(own, self.spread.get(f"|{kind}"))


EMPTY = TrainingFit({"id": "", "date": "", "tables": [], "cross_validation": []}, ())
_INSTEAD: ContextVar[TrainingFit | None] = ContextVar("training fit", default=None)


@contextmanager
def instead(fit: TrainingFit) -> Iterator[None]:
    """Everything priced inside rests on this fit: how steps are fitted, and predicted with groups left out."""
    token = _INSTEAD.set(fit)
    try:
        yield
    finally:
        _INSTEAD.reset(token)


def current() -> TrainingFit:
    """The fit in force: the shipped one outside :func:`instead`."""
    return _INSTEAD.get() or shipped()


@lru_cache(maxsize=1)
def shipped() -> TrainingFit:
    entry = files("speedlight.costs") / "fits" / FILE
    return read(entry.read_bytes()) if entry.is_file() else EMPTY


def read(data: bytes) -> TrainingFit:
    """A fit from its file."""
    made = msgspec.json.decode(data)
    return TrainingFit(
        MappingProxyType(made["header"]),
        tuple(Entry(tuple(sorted(e["where"].items())), e["log"]) for e in made["entries"]),
        MappingProxyType({k: (v[0], v[1]) for k, v in made["spread"].items()}),
        frozenset((s, a) for s, a in made["seen"]),
    )


def written(fit: TrainingFit) -> bytes:
    """A fit's file: text, a line an entry."""
    lines = [
        '{"header": ' + msgspec.json.encode(dict(fit.header)).decode(),
        ' "spread": ' + msgspec.json.encode({k: list(v) for k, v in sorted(fit.spread.items())}).decode(),
        ' "seen": ' + msgspec.json.encode(sorted(map(list, fit.seen))).decode(),
        ' "entries": [\n  '
        + ",\n  ".join(
            msgspec.json.encode({"where": dict(e.where), "log": round(e.log, 4)}).decode() for e in fit.entries
        )
        + "\n ]}\n",
    ]
    return ",\n".join(lines).encode()


def class_of(kernel: Kernel) -> str:
    """The class of a kernel; what it is, not what it is called."""
    if kernel.message is not None:
        axes = kernel.message.axis
        for axis in ("ep", "pp", "cp", "dp"):
            if axis in axes:
                return f"message_{axis}"
        return "message_tp"
    if kernel.phase == "optimizer":
        return "optimizer"
    if kernel.kind == "attention":
        return "attention"
    if kernel.kind in ("conv", "scan"):
        return kernel.kind
    if kernel.kind in ("matmul", "moe"):
        if kernel.fn.startswith("grouped"):
            return "experts"
        return "bmm" if kernel.fn.startswith("bmm") else "product"
    return "stream"


@lru_cache(maxsize=65536)
def _factor(fit: TrainingFit, key: tuple[tuple[str, str], ...]) -> Value:
    log = fit.log(dict(key))
    return np.exp(log) if isinstance(log, np.ndarray) else math.exp(log)


def key_of(kernel: Kernel, machine: Machine) -> dict[str, str]:
    """What entries may ask of a kernel."""
    return {
        "class": class_of(kernel), "pass": kernel.phase, "stack": kernel.library.get(NAME, ""),
        "release": kernel.library.get(RELEASE, ""), "architecture": machine.architecture, "device": machine.device_id,
        "format": _format(kernel),
    }  # fmt: skip


def _format(kernel: Kernel) -> str:
    """What a product multiplies: of formats that one unit multiplies alike (fp8, mxfp8 …) the one its activations are kept in."""
    used = next((w.format for w in kernel.work if w.unit == "matmul"), "")
    kept = number_format(str(kernel.attrs["activations"])) if used and kernel.attrs.get("activations") else None
    return kept.name if kept is not None and kept.compute == used else used


def issued(seconds: Value, library: Mapping[str, str], machine: Machine) -> Value:
    """Host seconds of one launch in a training step: the class ``launch``."""
    if NAME not in library:
        return seconds
    key = {
        "class": "launch", "stack": library[NAME], "release": library.get(RELEASE, ""), "architecture": machine.architecture,
        "device": machine.device_id,
    }  # fmt: skip
    return seconds * _factor(current(), tuple(key.items()))


def trained(kernel: Kernel, machine: Machine, cost: Cost) -> Cost:
    """The cost in a training step; unchanged where the stack names no training class, or the fit says nothing."""
    if NAME not in kernel.library:
        return cost
    fit = current()
    factor = _factor(fit, tuple(key_of(kernel, machine).items()))
    if isinstance(factor, float) and factor == 1.0:
        return cost
    busy = {
        resource: maximum(seconds * factor, cost.least.get(resource, 0.0)) for resource, seconds in cost.busy.items()
    }
    return dataclasses.replace(
        cost, busy=busy, latency=cost.latency * factor, time=maximum(cost.time * factor, cost.limit), layer="calibrated",
        basis=f"{cost.basis} + {NAME}" if cost.basis else NAME,
    )  # fmt: skip
