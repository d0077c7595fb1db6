"""Rows of features in the host's memory: gathered by the host and copied, or read over the link where they stand.

The host reads scattered rows, writes a buffer and the link reads it: three passes through its memory, the copy waiting for the gather.
Zero-copy reads pass the link in whole packets of 128 bytes and the memory once. What an epoch gains is what transfers were of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

CARD = "rtx-3090"
PACKET, HEADER = 128.0, 24.0  # bytes of a cache line's read over PCIe, and what frames each answer


def _parts(bench: Bench) -> Iterator[tuple[float, float]]:
    """Seconds a byte of (gather and copy, zero-copy)."""
    link = next(k for k in bench.machine(CARD).links if k.role == "host").bandwidth
    for memory in bench.unstated(
        "bytes/s of the host's memory", (20e9, 40e9), "what scattered reads of a few threads reach"
    ):
        for row in bench.unstated(
            "bytes of a row", (400.0, 1024.0, 2408.0), "feature vectors of 100 to 602 numbers in fp32"
        ):
            memory_rate, size = memory * bench.perturbed.bandwidth, bench.size(row)
            gathered = 2.0 / memory_rate + (1.0 + HEADER / 256.0) / float(link)  # copies come in packets of 256 bytes
            whole = -(-size // PACKET) * (PACKET + HEADER) / size
            yield gathered, whole / float(link)


@derives("pytorch-direct#1")
def transfer(bench: Bench) -> Finding:
    """Time of the transfers alone."""
    spans = [exactly(100 * (1 - direct / gathered)) for gathered, direct in _parts(bench)]
    return over(spans, "two passes of the gather, then the copy, against one crossing in whole packets")


def _epoch(bench: Bench, shares: tuple[float, ...]) -> list[float]:
    found = []
    for share in bench.unstated("transfers' part of an epoch", shares):
        for gathered, direct in _parts(bench):
            found.append(1 / (1 - share + share * direct / gathered))
    return found


@derives("pytorch-direct#2")
def epoch(bench: Bench) -> Finding:
    spans = [exactly(x) for x in _epoch(bench, (0.5, 0.7, 0.8))]
    return over(spans, "Amdahl: the transfers' gain on their part of an epoch")


@derives("large-graph-convolutional-network-training-with-gpu-oriented#1")
def beside(bench: Bench) -> Finding:
    """Reads by the device run beside its training as well, so that the longer of the two is left."""
    spans = []
    for share in bench.unstated("transfers' part of an epoch", (0.4, 0.5, 0.6)):
        for gathered, direct in _parts(bench):
            spans.append(exactly(100 * (1 / max(1 - share, share * direct / gathered) - 1)))
    return over(spans, "gather, copy and training in turn against zero-copy reads beside the training")


@derives("graph-neural-network-training-with-data-tiering#2")
def tiering(bench: Bench) -> Finding:
    """Its stated cut of traffic, on the part of an epoch that transfers are."""
    spans = []
    for cut in bench.given("traffic saved", (0.87, 0.95)):
        for share in bench.unstated("transfers' part of an epoch", (0.4, 0.5, 0.6), "what zero-copy leaves of it"):
            spans.append(exactly(1 / (1 - bench.size(share) * cut)))
    return over(spans, "Amdahl: 87 to 95 % of the transfers gone")
