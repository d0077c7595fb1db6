"""SpeCache: the cache in host memory, a copy of few bits on the device that says what to fetch next."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("specache#1")
def compression(bench: Bench) -> Finding:
    """Bytes of the cache over the copy's."""
    spans = []
    for bits in bench.unstated("bits of a value in the copy", (1, 2)):
        for group in bench.unstated("values that share a scale and a zero point", (32, 64, 128)):
            copy = bits + 2 * bench.bits("fp16") / group
            spans.append(exactly(bench.size(16.0) / copy))
    return over(spans, "16 bits over those of the copy, scales and zero points included; fetched pairs are few")
