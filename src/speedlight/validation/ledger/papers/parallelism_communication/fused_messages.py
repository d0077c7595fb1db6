"""T3: a product's tiles are sent and summed as they are written; TP-aware dequantisation: a layout that needs one message less.

A sub-layer of tensor parallelism is a product G, a reduce-scatter R and an all-gather A of as many bytes. T3 hides the shorter of G and
R: (G + R + A) / (max(G, R) + A), at most 1.5 where all three are equal, whatever the machine. Its products also write where the
reduction reads, so that one pass of three through memory goes away.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ._shared import even, message

TOKENS = 8192
MACHINES = ("mi100", "a100-sxm-80gb")


def _sublayers(bench: Bench, hidden: int, ranks: tuple[int, ...]) -> list[tuple[float, float]]:
    """(product, reduce-scatter) seconds of output projections and second feed-forward products."""
    found = []
    bench.given("tokens", TOKENS, "unstated", "sequences of 1,024 and more, several of them")
    for machine in bench.unstated("machine", MACHINES, "a simulated GPU"):
        chip = bench.machine(machine)
        peak = chip.engine.peak("matmul", "fp16", None)[0].flops
        for tp in bench.unstated("ranks", ranks):
            sent = message(bench, machine, "reduce_scatter", TOKENS * hidden * 2.0, tp).value
            for inner in (hidden / tp, 4 * hidden / tp):
                rate = min(0.8 * peak, 0.8 * chip.main.bandwidth * inner)  # thin products are bound by what they write
                found.append((2 * bench.size(float(TOKENS)) * hidden * inner / rate, sent))
    bench.given("efficiency of products", 0.8, "assumed", "of large products on the machines' peaks")
    return found


def _gains(pairs: list[tuple[float, float]]) -> list[Span]:
    return [
        even(100 * ((g + 2 * r) / (max(g, r) + r) - 1), 50.0)
        for g, r in pairs
    ]  # fmt: skip


@derives("t3#1", "t3#2")
def sublayers(bench: Bench) -> Finding:
    """Sub-layers of a model like T-NLG (hidden 4256) over 8 and 16 ranks, per cent faster."""
    bench.stated(hidden=4256)
    return over(
        _gains(_sublayers(bench, 4256, (8, 16))),
        "(G + R + A) / (max(G, R) + A), all-gathers as long as reduce-scatters",
    )


@derives("t3#5")
def large(bench: Bench) -> Finding:
    """Sub-layers of models of 500 billion parameters (hidden 18432 to 20480) over 32 ranks."""
    bench.stated(hidden=(18432, 20480))
    pairs = [pair for hidden in (18432, 20480) for pair in _sublayers(bench, hidden, (32,))]
    return over(_gains(pairs), "(G + R + A) / (max(G, R) + A), all-gathers as long as reduce-scatters")


@derives("t3#3", "t3#4")
def traffic(bench: Bench) -> Finding:
    """Bytes through memory of a sub-layer, per cent less.

    A ring's step reads what came in and a rank's own part and writes the sum to the next rank; with sums made by the memory itself
    a rank's own part is not read, and what it would have written for itself is not either.
    """
    spans = []
    hidden = bench.given("hidden", 4256)
    for tp in bench.unstated("ranks", (8, 16)):
        for inner in (hidden / tp, 4 * hidden / tp):
            for gathered in bench.unstated("all-gather counted", (True, False)):
                whole = bench.size(float(TOKENS)) * hidden
                sent = (tp - 1) / tp * whole
                product = bench.size(float(TOKENS)) * inner + inner * hidden + whole
                before = product + 3 * sent + (2 * sent if gathered else 0)
                less = 100 * sent / before
                spans.append(Span(less, less, less, less))
    return over(
        spans,
        "elements read and written by a product, a ring's reduce-scatter and, or not, an all-gather; a rank's own part is read once less",
    )


def _mlp(bench: Bench, hidden: int, wide: int) -> Finding:
    """An MLP in 4 bits with and without the all-gather between its products."""
    spans = []
    for machine in bench.stated(machine=("a100-sxm-80gb", "h100-sxm-80gb"))["machine"]:
        chip = bench.machine(machine)
        launch = chip.engine.launch_latency_s
        for tp in bench.unstated("tp", (2, 4, 8)):
            for tokens in bench.unstated("batch", (1, 4, 16)):
                for bits in bench.unstated("weight bits", (4.0, 16.0), "as packed, or widened ahead"):
                    product = bench.size(hidden * wide * bits / 8) / tp / (0.85 * chip.main.bandwidth) + launch
                    gathered = message(bench, machine, "all_gather", tokens * wide * 2.0, tp).value
                    summed = message(bench, machine, "all_reduce", tokens * hidden * 2.0, tp).value
                    kept = 2 * product + summed
                    gain = (kept + gathered + 2 * launch) / kept  # and a kernel each that permutes and cuts
                    spans.append(Span(gain, gain, gain, gain))
    bench.given("share of memory bandwidth", 0.85, "assumed", "of products that stream weights")
    return over(
        spans,
        "two products' weights and an all-reduce, against the same with an all-gather, a permutation and a cut between",
    )


@derives("tp-aware-dequantization#1")
def llama(bench: Bench) -> Finding:
    """Llama-70B: 8192 × 28672."""
    return _mlp(bench, 8192, 28672)


@derives("tp-aware-dequantization#2")
def granite(bench: Bench) -> Finding:
    """Granite-20B: 6144 × 24576."""
    return _mlp(bench, 6144, 24576)
