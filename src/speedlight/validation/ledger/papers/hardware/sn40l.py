"""SN40L: a hundred and fifty experts in DDR, the one asked for a copy away.

A node of eight sockets has 12 TB of DDR; eight-GPU boxes of 640 GB hold as many experts in HBM only nineteen together. Switching copies an
expert from DDR at the sockets' rate, where a box of GPUs has its hosts' links.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("sambanova-sn40l#2")
def parameters(bench: Bench) -> Finding:
    bench.stated(experts=150)
    count = float(
        bench.facts(bench.given("model", "llama-2-7b", "published", "Samba-CoE: 150 experts of Llama-2 7B"))["params"]
    )
    return over([exactly(150 * count)], "150 models of 7 B")


@derives("sambanova-sn40l#4")
def footprint(bench: Bench) -> Finding:
    socket, card = (bench.machine(bench.given(f"machine {n}", n)) for n in ("sn40l", "h100-sxm-80gb"))
    for name in ("sn40l", "h100-sxm-80gb"):
        bench.given("machine", name)
    ddr = next(t for t in socket.tiers if t.role == "host")
    return over(
        [exactly(float(ddr.capacity_bytes) * bench.size(1.0) / float(card.main.capacity_bytes))],
        "DDR of a node over HBM of a box, eight of each",
    )


@derives("sambanova-sn40l#5")
def switching(bench: Bench) -> Finding:
    """All sockets copy their part of an expert; a box's expert comes over one link to the host or over two."""
    socket = bench.machine(bench.given("machine", "sn40l"))
    spans = []
    for each in bench.unstated(
        "bytes/s of a socket's DDR",
        (100e9, 200e9),
        "half the Hot Chips figure a socket, and what the paper is remembered to say",
    ):
        for card in bench.unstated("machine", ("a100-sxm-80gb", "h100-sxm-80gb")):
            link = next(k for k in bench.machine(card).links if k.role == "host")
            spans.append(exactly(8 * each * bench.perturbed.bandwidth / float(link.bandwidth)))
    assert socket.tiers
    return over(spans, "DDR of eight sockets over one GPU's link to its host")


def _overall(bench: Bench, card: str) -> Finding:
    """Switch to an expert, then answer with 20 tokens."""
    size = float(bench.facts(bench.given("model", "llama-2-7b", "published", "Samba-CoE"))["weight_bytes"])
    link = next(k for k in bench.machine(bench.given("machine", card)).links if k.role == "host")
    spans = []
    for tokens in bench.unstated("tokens of an answer", (20, 50, 200)):
        gpu = bench.ask(
            "llama-2-7b",
            f"dgx-{card.split('-')[0]}" + ("-80gb" if card.startswith("a100") else ""),
            phase="decode",
            batch=1,
            context=512,
            tp=8,
        )
        rdu = bench.ask("llama-2-7b", "sn40l-8", phase="decode", batch=1, context=512, tp=8)
        for ddr in bench.unstated("bytes/s of a socket's DDR", (100e9, 200e9)):
            before = size / float(link.bandwidth) + tokens * float(gpu.time)
            after = size / (8 * ddr * bench.perturbed.bandwidth) + tokens * float(rdu.time)
            spans.append(exactly(before / after))
    return over(spans, "a switch and an answer of one request, on eight devices either way")


@derives("sambanova-sn40l#6")
def over_h100(bench: Bench) -> Finding:
    return _overall(bench, "h100-sxm-80gb")


@derives("sambanova-sn40l#7")
def over_a100(bench: Bench) -> Finding:
    return _overall(bench, "a100-sxm-80gb")
