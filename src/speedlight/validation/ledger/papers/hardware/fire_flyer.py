"""Fire-Flyer: PCIe cards in plain servers instead of SXM modules behind switches.

Eight cards of 250 W and a server against a box whose maker states 6.5 kW.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("fire-flyer-ai-hpc#3")
def energy(bench: Bench) -> Finding:
    card = bench.machine(bench.given("machine", "a100-pcie-40gb"))
    box = bench.machine("dgx-a100-40gb").facts["node_power_w"].value
    spans = []
    for server in bench.unstated(
        "watts of a server without its cards", (1000.0, 1500.0, 2000.0), "two sockets, memory, fans, ports"
    ):
        for pace in bench.unstated(
            "rate over the box's", (0.83, 1.0), "the same work takes as long, or a fifth longer"
        ):
            spans.append(exactly(100 * (1 - bench.size(8 * float(card.tdp_w or 250.0) + server) / (float(box) * pace))))
    return over(spans, "power of eight cards and a server over a box's, for the same work")
