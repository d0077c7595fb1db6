"""Networks that we measured ourselves on one H100, beside the rows of the table (``data/README.md``).

The table's GPUs are two GeForce cards, whose memory is slow beside their cores. What waits for cores, or for loads of which too few
are under way, hides behind memory there, and shows on a card with three times the bandwidth and as many cores.

The kernels measured there one by one are not among the rows: in a loop their operands come from the cache, which they do not in a
network, and with them a GeForce card left out was told worse (studies/2026-11-image-models.md).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..suite import Columns

DATA = Path(__file__).parent / "data"
DEVICE, TORCH = "H100-SXM-80GB", "2110"
PLAIN = "plain"  # harness: the network as it is, without what timm's benchmark does to it


def with_networks(columns: Columns, count: int) -> tuple[dict[str, np.ndarray], int]:
    """The table's columns with our networks as further rows, and how many rows there are then.

    A column ``harness`` says what each was run by; what we did not note is NaN.
    """
    with (DATA / "h100_networks.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
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
