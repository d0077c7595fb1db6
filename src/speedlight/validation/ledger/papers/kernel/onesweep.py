"""Onesweep: a digit's pass reads and writes the keys once.

Sorting by radix is bound by memory: with a counting pass before each moving one a key costs three memory operations a digit, with
prefix sums found in passing two. Hence 3/2, and a rate below bandwidth over bytes.
"""

from __future__ import annotations

from ....._foundation.formats import number_format
from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...kernels import faster, kernel, ops
from ...registry import derives

KEYS = 2**28


def _sorts(bench: Bench, machine: str, keys: int = KEYS) -> tuple[Prediction, Prediction]:
    source = ops(("radix_sort", {"n": keys}), dtype="fp32")
    bench.given("n", keys)
    bench.given("key", "int32")
    bench.given("stack", "ideal", "published", "the sort alone")
    one, other = (
        kernel(bench, "one radix sort", source, machine, [t], stack="ideal") for t in ("two-read-sort", "onesweep-sort")
    )
    return one, other


@derives("onesweep#1")
def operations(bench: Bench) -> Finding:
    """Memory operations a key and pass."""
    bench.given("machine", "a100-sxm-40gb")
    keys = 2**32  # so many that no cache changes the count
    _, sort = _sorts(bench, "a100-sxm-40gb", keys)
    key, passes = number_format("int32").bits / 8, 4
    counted = keys * key  # one more read, which counts all digits
    per_pass = bench.size((float(sort.bytes) - counted) / (keys * key * passes))
    return over(
        [exactly(per_pass)],
        "bytes of the passes that move keys, over keys and passes; one read before them counts all digits",
        more=False,
    )


@derives("onesweep#2")
def rate(bench: Bench) -> Finding:
    """Keys a second."""
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-40gb", "a100-sxm-80gb"), "an A100; its memory is not stated"):
        _, sort = _sorts(bench, machine)
        spans.append(Span(*(KEYS / float(x) / 1e9 for x in (sort.high, sort.time, sort.low, sort.limit))))
    return over(spans, "nine passes over the keys at the memory's bandwidth; analytic, scattered runs of 16 keys")


@derives("onesweep#3")
def gain(bench: Bench) -> Finding:
    """Three memory operations against two."""
    bench.given("machine", "a100-sxm-40gb")
    before, after = _sorts(bench, "a100-sxm-40gb")
    return over([faster(before, after)], "both bound by memory: the ratio of their operations")
