"""How serving engines differ from the sum of their kernels: bends of each part by engine, architecture and format.

A part of a step (seconds by sort of kernel, counts of host work) is multiplied by exp(Σ θ) over the levels below: what all
engines share, then what a number format, an engine, an architecture and their combinations do differently. Every level is
drawn towards nothing, the particular ones more, so that an engine or device never seen takes what is common. No level knows a
model. ``campaign`` is what rows measured together share and no column says (speculative decoding on or off, polling), TPOT's
by ``kind`` of architecture (speculation needs trained heads, untuned kernels are of experts or of products); ``burst``
tells starts whose prompts fill the largest steps, where whatever is compiled on first use is waited for.

The values ship as ``fits/serving.json`` with procedure, date and cross-validated error (``python -m
speedlight.validation.deployments TABLE`` refits).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ...costs.calibration.samples import architecture_of
from ...graph.ir import Graph
from ...hardware.machine import Machine

# Host work in seconds before fitting: a step's scheduling, a step with prompts (no captured graph), each of its kernels, a
# sequence's share, the way of a request in and out.
BASE = {
    "steps": 3e-4,
    "mixed": 2e-3,
    "launches": 2e-6,
    "gaps": 2e-6,
    "routing": 5e-6,
    "sequences": 5e-6,
    "constant": 2e-2,
    "clients": 2e-4,
    "wait": 1.0,
}

# Columns that are nothing before fitting and may be less: BASE · (bend − 1).
FREE = ("gaps", "routing")

# Column → levels: the labels each distinguishes and how far from nothing it may be (standard deviation of its log).
_PRODUCT = (((), 0.025), (("format",), 0.01), (("engine",), 0.015), (("engine", "format"), 0.01), (("architecture",), 0.01),
            (("engine", "architecture"), 0.01), (("engine", "architecture", "format"), 0.01))  # fmt: skip
_EXPERTS = tuple((tuple("experts" if f == "format" else f for f in fields), sd) for fields, sd in _PRODUCT)
_ATTENTION = (((), 0.025), (("attention",), 0.015), (("engine",), 0.015), (("engine", "attention"), 0.01),
              (("architecture", "attention"), 0.01), (("engine", "architecture", "attention"), 0.01))  # fmt: skip
_REST = (((), 0.03), (("engine",), 0.015), (("architecture",), 0.012), (("engine", "architecture"), 0.012))
_HOST = (((), 0.3), (("engine",), 0.2), (("engine", "architecture"), 0.1))
_GAPS = (((), 0.12), (("engine",), 0.1), (("engine", "architecture"), 0.1))
_ROUTING = (((), 0.25), (("engine",), 0.2), (("engine", "architecture"), 0.15))
LEVELS: Mapping[str, tuple[tuple[tuple[str, ...], float], ...]] = {
    "gemm": _PRODUCT, "moe": _EXPERTS, "comm": _REST, "stream": _REST, "head": _REST, "decode": _ATTENTION,
    "prefill": _ATTENTION, "gemm+": _PRODUCT, "moe+": _EXPERTS, "comm+": _REST, "stream+": _REST, "steps": _HOST, "mixed": _HOST, "launches": _HOST, "gaps": _GAPS, "routing": _ROUTING, "sequences": _HOST,
    "clients": (*_HOST, (("client",), 1.0)),
    "constant": (((), 1.0), (("client",), 1.0), (("engine",), 0.7), (("engine", "client"), 0.7), (("campaign",), 1.0),
                 (("campaign", "burst"), 1.0)),
    "wait": (((), 1.0), (("engine", "client"), 1.5), (("engine", "architecture", "client"), 0.7), (("campaign",), 0.7)),
    "alike": ((("engine", "client"), 1.5),),
    "speed": ((("campaign", "kind"), 0.25),),
}  # fmt: skip


@dataclass(frozen=True)
class Bends:
    """Fitted values by key (:func:`keys`).

    Attributes:
        values: θ.
        header: procedure, date, rows and cross-validated errors.
        ends: per kind of answer, logs of the 10 % and 90 % quantiles of measured over predicted.
        centres: per kind of answer, the log from a latency as the bends have it to the one whose expected relative error is least.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    centres: Mapping[str, float] = field(default_factory=dict)

    def log(self, column: str, labels: Mapping[str, str]) -> float:
        """Sum of a column's levels; unknown labels add nothing."""
        return sum(self.values.get(key, 0.0) for key in keys(column, labels))

    def factor(self, column: str, labels: Mapping[str, str]) -> float:
        return math.exp(self.log(column, labels))


def keys(column: str, labels: Mapping[str, str]) -> list[str]:
    """Names of the values that bend a column for these labels."""
    return ["|".join((column, *(f"{f}={labels[f]}" for f in fields))) for fields, _ in LEVELS[column]]


@lru_cache(maxsize=1)
def shipped_bends() -> Bends:
    """The fit that ships."""
    path = files(__package__) / "fits" / "serving.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    return Bends(data["values"], data["header"], {k: (v[0], v[1]) for k, v in data["ends"].items()}, data["centres"])


def labels_of(graph: Graph, machine: Machine, engine: str) -> dict[str, str]:
    """What a scenario's parts are told apart by."""
    found = {"engine": engine, "architecture": architecture_of(machine), "client": "", "campaign": "", "burst": ""}
    for _, op in graph.ops():
        if op.fn == "grouped_linear" and op.work:
            found.setdefault("experts", f"{op.work[0].format}:{op.attrs.get('weights', '')}")
        elif op.fn == "linear" and op.work and op.name.endswith(("o_proj", "down_proj")):
            found.setdefault("format", op.work[0].format)
        elif op.fn == "mla":
            found["attention"] = "latent"
    told = {"experts": "", "format": "", "attention": "heads", **found}
    return told | {"kind": told["attention"] + ("+experts" if told["experts"] else "")}
