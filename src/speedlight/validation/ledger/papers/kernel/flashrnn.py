"""FlashRNN: a recurrence bound by launches.

Call by call a time step launches its product and a dozen element-wise kernels, each microseconds of host time for nanoseconds of
work. One kernel for all steps keeps the recurrent weights in registers; what is left is the round trips by which units learn each
other's part of the state, and the arithmetic.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...kernels import kernel, ops
from ...registry import derives

TRIPS = 4  # of a grid-wide barrier through the last cache: write the state, arrive, see all arrived, read it


@derives("flashrnn#1")
def kernels(bench: Bench) -> Finding:
    """A layer of LSTM over a sequence."""
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "h100-sxm-80gb")):
        for hidden, batch in bench.unstated("hidden and batch", ((768, 16), (768, 64), (2048, 16))):
            for calls in bench.unstated(
                "kernels of a step", (6, 12), "vanilla PyTorch: one product, gates and state one by one"
            ):
                source = ops(("rnn", {"hidden": hidden, "batch": batch, "steps": 1024, "project": "no"}), dtype="bf16")
                before = kernel(
                    bench,
                    "one LSTM layer",
                    source,
                    machine,
                    [f"stepwise-recurrence:calls={calls}"],
                    stack="torch-eager",
                )
                after = kernel(bench, "one LSTM layer", source, machine, ["fused-recurrence"], stack="torch-eager")
                cache = bench.machine(machine).last_cache
                assert cache is not None
                barrier = (TRIPS - 1) * 1024 * float(cache.latency_s)
                ratio = float(before.time) / (float(after.time) + barrier)
                least = barrier / 2  # a store on its way, a flag seen, the state read: two and a half trips
                spans.append(Span(ratio, ratio, ratio, float(before.time) / (float(after.time) + least)))
    return over(
        spans,
        "launches of 1024 steps against one kernel with a barrier a step; the bound counts what of it no kernel can leave out",
    )


@derives("flashrnn#2")
def widest(bench: Bench) -> Finding:
    """Hidden sizes whose recurrent weights a kernel can hold: those of all units together against those of one."""
    bench.given("kernel", "4 · hidden² weights of 16 bits; the Triton kernel holds them in one unit", "assumed")
    spans = []
    for machine, registers, shared in bench.unstated(
        "machine",
        (("a100-sxm-80gb", 256, 164), ("h100-sxm-80gb", 256, 228)),
        "KiB of registers and shared memory of a unit, CUDA programming guide",
    ):
        units = float(bench.machine(machine).engine.units)
        for size in (registers, registers + shared):
            widest = (units * size * 1024 / 8) ** 0.5
            alone = 2.0 ** int((registers * 1024 / 8) ** 0.5).bit_length() / 2  # Triton's blocks are powers of two
            for used in bench.unstated(
                "of what one unit could hold", (0.5, 1.0), "accumulators and gates take registers too"
            ):
                spans.append(exactly(bench.size(widest / (alone * used))))
    return over(spans, "room for weights in all units against one, whose Triton block is a power of two")
