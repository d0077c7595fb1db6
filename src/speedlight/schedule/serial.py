"""The serial timeline: one stream of kernels, issued by one host thread, blocks folded.

The host issues kernels ahead of the device: kernel i starts when it has been issued and its predecessor is done. With
h_i the host's time to issue and d_i the device's time to run it, the end of the stream obeys the max-plus recurrence

    H_i = H_{i−1} + h_i        E_i = max(H_i, E_{i−1}) + d_i

One pass over a block advances (H, E) to (H + h, max(E + d, H + x)) with h = Σ h_i, d = Σ d_i and
x = max_j (Σ_{i≤j} h_i + Σ_{i≥j} d_i), the longest path that waits for the host at kernel j. Repeated c times this is
exact in closed form: E + c·d, or H + x + (c − 1)·max(h, d), whichever is later; so that a folded graph needs no loop over
its layers. What the device waits is the *gap*, booked as a row of its own so that rows always sum to the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._foundation.arrays import Value, maximum, where

NOISE = 1e-12  # a relative gap this small is rounding, not waiting


@dataclass(frozen=True, slots=True)
class Passage:
    """A block on the timeline.

    Attributes:
        count: instances.
        device: seconds of device time of one instance.
        gap: seconds the device waits for the host during all instances.
    """

    count: Value
    device: Value
    gap: Value


@dataclass(frozen=True, slots=True)
class Timeline:
    """Seconds of the whole step, and its blocks. ``time`` = Σ count · device + Σ gap, exactly."""

    time: Value
    passages: tuple[Passage, ...]


def serial(
    blocks: Sequence[tuple[Value, Sequence[tuple[Value, Value]]]], start_s: Value = 0.0, *, inline: bool = False
) -> Timeline:
    """Run blocks one after another.

    Args:
        blocks: per block its count and, for each kernel, (seconds on the device, seconds of the host to issue it).
        start_s: host seconds before the first kernel can be issued.
        inline: the host issues a kernel only when the one before is done, because it computes them itself.
    """
    host: Value = start_s
    end: Value = 0.0
    passages = []
    for count, kernels in blocks:
        device: Value = 0.0
        issue: Value = 0.0
        for d, h in kernels:
            device, issue = device + d, issue + h
        longest: Value = 0.0
        before: Value = 0.0
        after: Value = device
        for d, h in kernels:
            before = before + h
            longest = maximum(longest, before + after)
            after = after - d
        # A block none of whose kernels run (the part of a cut network that another machine has) waits for nobody.
        present = where(count * (device + issue) > 0, 1.0, 0.0)
        if inline:
            gap = present * maximum(host - end, 0.0) + count * issue
            passages.append(Passage(count, device, gap))
            end = end + count * device + gap
            continue
        waiting = host + longest + (count - 1) * maximum(issue, device)
        busy = end + count * device
        gap = maximum(where(present > 0, waiting, end) - busy, 0.0)
        gap = where(gap > NOISE * busy, gap, 0.0)
        new_end = busy + gap
        passages.append(Passage(count, device, gap))
        host, end = host + count * issue, new_end
    total: Any = 0.0
    for p in passages:
        total = total + p.count * p.device + p.gap
    return Timeline(total, tuple(passages))
