"""1bit-Merging: a sign for each weight of a task, beside one shared base."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("1bit-merging#1")
def bits(bench: Bench) -> Finding:
    """Bits of an element."""
    bench.given("format", "int1")
    return over([exactly(bench.bits("int1"))], "a sign; a scale a matrix is spread over millions of them", more=False)
