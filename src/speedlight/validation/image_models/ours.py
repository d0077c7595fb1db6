"""What we measured ourselves on one H100, beside the rows of the table (``data/README.md``): networks, and products one by one.

The table's GPUs are two GeForce cards, whose memory is slow beside their cores. What waits for cores, or for loads of which too few
are under way, hides behind memory there, and shows on a card with three times the bandwidth and as many cores.

Of the kernels measured one by one only products and attention in 16 bits join, long ones: matrix units bind them, so that it makes no
difference where their operands come from; networks alone let them reach the peak and charged what was missing to streams. Other
kernels find their operands in the cache in a loop, which they do not in a network, and with them a GeForce card left out was told
worse (studies/2026-11-image-models.md).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...costs.families.module_kernels import key_of
from ...hardware.catalogue import load_machine
from ...measurement.bench.evidence import Measurement
from ...stacks.stack import load_stack
from ..here.points import kernels_of
from ..suite import Columns
from .observed import FIELDS, Key, Observed, Seen, described

DATA = Path(__file__).parent / "data"
DEVICE, TORCH, FRAMEWORK = "H100-SXM-80GB", "2110", "torch-eager"
PRODUCTS = ("linear", "mm", "bmm", "sdpa")
LONG_S = 1e-5  # a kernel's start is a tenth of it
STEADY = 1.05  # a row's interval from end to end, beyond which the host that issued kernels is what was timed
PLAIN = "plain"  # harness: the network as it is, without what timm's benchmark does to it


def with_networks(columns: Columns, count: int) -> tuple[dict[str, np.ndarray], int]:
    """The table's columns with our networks as further rows, and how many rows there are then.

    A column ``harness`` says what each was run by; what we did not note is NaN. Networks whose repetitions differ (:data:`STEADY`) waited for
    Python, most of those in training at a batch of 128: they say nothing of kernels.
    """
    with (DATA / "h100_networks.csv").open(encoding="utf-8", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if float(r["high_s"]) <= STEADY * float(r["low_s"])]
    fixed = {
        "precision": "amp",
        "layout": "nhwc",
        "torch": TORCH,
        "device": DEVICE,
        "compiled": "False",
        "harness": PLAIN,
    }
    named = {"model": "model", "mode": "mode", "image_size": "side", "batch_size": "batch", "latency": "median_s"}
    found = {}
    for name, column in {**columns, "harness": np.full(count, "timm", dtype=object)}.items():
        if column.dtype.kind in "fiu":
            own = np.array([float(r[named[name]]) if name in named else np.nan for r in rows])
            found[name] = np.concatenate([column.astype(float), own])
        else:
            texts = [r[named[name]] if name in named else fixed.get(name) for r in rows]
            found[name] = np.concatenate([np.asarray(column, dtype=object), np.array(texts, dtype=object)])
    return found, count + len(rows)


def products(first: int) -> tuple[Observed, np.ndarray]:
    """Products and attention that ran alone, in a graph, each as a row of its own.

    Args:
        first: number of the first row.

    Returns:
        what is known of them, and their seconds.
    """
    machine, stack = load_machine(DEVICE, table=True), load_stack(f"{FRAMEWORK}@2.11")
    columns: dict[str, dict[str, list[float]]] = {}
    keys: dict[str, dict[Key, int]] = {}
    seconds: list[float] = []
    for point in _points():
        for kernel, values, cost, count in kernels_of(point, machine, stack):
            key = key_of(kernel, machine, FRAMEWORK)
            known = keys.setdefault(key["sort"], {})
            code = known.setdefault(tuple(key[field] for field in FIELDS), len(known))
            numbers = {"row": len(seconds), "count": count, "key": code, **described(kernel, values, cost, machine)}
            own = columns.setdefault(key["sort"], {})
            for name, value in numbers.items():
                own.setdefault(name, []).append(float(np.asarray(value)))
        seconds.append(point.median)
    kinds = {"row": np.int64, "key": np.int32}
    tables = {
        sort: Seen({n: np.array(v, dtype=kinds.get(n, float)) for n, v in own.items()}, tuple(keys[sort]))
        for sort, own in columns.items()
    }
    rows = first + np.arange(len(seconds))
    return Observed(rows, np.full((rows.size, 3), np.nan), tables, {}), np.array(seconds)


def _points() -> Iterator[Measurement]:
    """Forward passes in 16 bits that take long enough, with weights that a cache may keep."""
    with (DATA / "h100_kernels.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            sizes = {k: int(v) if v.isdigit() else v for k, v in (p.split("=") for p in row["sizes"].split(";") if p)}
            narrow = sizes.get("format") in ("fp16", "bf16") and not {"backward", "cold"} & set(sizes)
            if row["op"] in PRODUCTS and narrow and row["alone"] == "1" and float(row["median_s"]) >= LONG_S:
                median, low, high = (float(row[name]) for name in ("median_s", "low_s", "high_s"))
                yield Measurement(row["op"], row["sort"], row["op"], sizes, median, low, high, [], 1)
