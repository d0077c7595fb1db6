"""What we measured ourselves on an H100 and an H200, beside the rows of the table (``data/README.md``): networks, and products one by one.

The table's GPUs are two GeForce cards, whose memory is slow beside their cores. What waits for cores, or for loads of which too few
are under way, hides behind memory there, and shows on cards with three to five times the bandwidth and as many cores.

Of the kernels measured one by one those join that a network runs as the loop did: products and attention in 16 bits, long ones,
which matrix units bind wherever their operands come from, and streams of more bytes than their launch takes, which say what main memory and the
cache give. Networks alone let products reach the peak and charged streams with what was missing. Convolutions join not: cuDNN chose their
kernels without its search (studies/2026-11-h200.md).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..._foundation.arrays import Value
from ...costs.families.module_kernels import key_of
from ...hardware.catalogue import load_machine
from ...measurement.bench.evidence import Measurement
from ...stacks.stack import load_stack
from ..here.points import kernels_of
from ..suite import Columns
from .observed import FIELDS, Key, Observed, Seen, described

DATA = Path(__file__).parent / "data"
TORCH, FRAMEWORK = "2110", "torch-eager"  # of kernels; networks say whether they were compiled
PRODUCTS = ("linear", "mm", "bmm", "sdpa")
STREAMS = (
    "add", "sub", "mul", "div", "scale", "sum", "exp", "erf", "rsqrt", "tanh", "sigmoid", "hardsigmoid", "hardswish", "relu", "relu_", "relu6",
    "gelu", "silu", "copy", "clone", "transpose", "gather", "softmax", "layer_norm", "rms_norm", "group_norm", "batch_norm", "batch_norm_train",
    "max_pool", "avg_pool", "mean_pool", "upsample", "cat",
)  # fmt: skip
LONG_S = 1e-5  # a kernel's start is a tenth of it
MOST = 1.3  # moving bytes takes so many times what the launch takes
STEADY = 1.05  # a row's interval from end to end, beyond which the host that issued kernels is what was timed
PLAIN = "plain"  # harness: the network as it is, without what timm's benchmark does to it


def with_networks(columns: Columns, count: int) -> tuple[dict[str, np.ndarray], int]:
    """The table's columns with our networks as further rows, and how many rows there are then.

    A column ``harness`` says what each was run by; what we did not note is NaN. Networks whose repetitions differ (:data:`STEADY`) waited for
    Python, most of those in training at a batch of 128: they say nothing of kernels.
    """
    rows = [r for r in _noted("networks.csv") if float(r["high_s"]) <= STEADY * float(r["low_s"])]
    fixed = {"torch": TORCH, "harness": PLAIN}
    named = {"image_size": "side", "batch_size": "batch", "latency": "median_s"}
    found = {}
    for name, column in {**columns, "harness": np.full(count, "timm", dtype=object)}.items():
        if column.dtype.kind in "fiu":
            own = np.array([float(r[named[name]]) if name in named else np.nan for r in rows])
            found[name] = np.concatenate([column.astype(float), own])
        else:
            texts = [r.get(name, fixed.get(name)) for r in rows]
            found[name] = np.concatenate([np.asarray(column, dtype=object), np.array(texts, dtype=object)])
    return found, count + len(rows)


@dataclass(frozen=True)
class Alone:
    """Kernels that ran alone, in a graph, each as a row of its own.

    Attributes:
        seen: what is known of them; ``sort``: products or streams; ``device``: the machine of each, as tables name it; ``seconds`` of each.
    """

    seen: Observed
    sort: tuple[str, ...]
    device: tuple[str, ...]
    seconds: np.ndarray


def alone(first: int) -> Alone:
    """Products and streams.

    Args:
        first: number of the first row.
    """
    stack = load_stack(f"{FRAMEWORK}@2.11")
    devices: list[str] = []
    sorts: list[str] = []
    columns: dict[str, dict[str, list[float]]] = {}
    keys: dict[str, dict[Key, int]] = {}
    seconds: list[float] = []
    for device, sort, point in _points():
        machine = load_machine(device, table=True)
        ran = [
            (key_of(kernel, machine, FRAMEWORK), {"count": count, **described(kernel, values, cost, machine)})
            for kernel, values, cost, count in kernels_of(point, machine, stack)
        ]
        if sort == "streams" and not _streams(ran):
            continue
        for key, numbers in ran:
            known = keys.setdefault(key["sort"], {})
            code = known.setdefault(tuple(key[field] for field in FIELDS), len(known))
            own = columns.setdefault(key["sort"], {})
            for name, value in {"row": len(seconds), "key": code, **numbers}.items():
                own.setdefault(name, []).append(float(np.asarray(value)))
        seconds.append(point.median)
        devices.append(device)
        sorts.append(sort)
    kinds = {"row": np.int64, "key": np.int32}
    tables = {
        sort: Seen({n: np.array(v, dtype=kinds.get(n, float)) for n, v in own.items()}, tuple(keys[sort]))
        for sort, own in columns.items()
    }
    rows = first + np.arange(len(seconds))
    seen = Observed(rows, np.full((rows.size, 3), np.nan), tables, {})
    return Alone(seen, tuple(sorts), tuple(devices), np.array(seconds))


def _streams(ran: Sequence[tuple[Mapping[str, str], Mapping[str, Value]]]) -> bool:
    """Whether bytes take most of the time of what is nothing but streams, by analysis."""

    def seconds(*terms: str) -> float:
        return sum(float(np.asarray(numbers[f"t:{term}"]) * numbers["count"]) for _, numbers in ran for term in terms)

    return all(key["sort"] == "stream" for key, _ in ran) and seconds("memory", "cache") >= MOST * seconds("launch")


def _points() -> Iterator[tuple[str, str, Measurement]]:
    """Forward passes that take long enough, with weights that a cache may keep: device, sort, point."""
    for row in _noted("kernels.csv"):
        sizes: dict[str, int | float | str] = {
            k: int(v) if v.isdigit() else v for k, v in (p.split("=") for p in row["sizes"].split(";") if p)
        }
        product = row["op"] in PRODUCTS and sizes.get("format") in ("fp16", "bf16")
        long = row["alone"] == "1" and float(row["median_s"]) >= LONG_S
        if long and (product or row["op"] in STREAMS) and not {"backward", "cold"} & set(sizes):
            median, low, high = (float(row[name]) for name in ("median_s", "low_s", "high_s"))
            sort = "products" if product else "streams"
            yield row["device"], sort, Measurement(row["op"], row["sort"], row["op"], sizes, median, low, high, [], 1)


def _noted(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
