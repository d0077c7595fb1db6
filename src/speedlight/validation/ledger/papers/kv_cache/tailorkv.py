"""TailorKV: layers of diffuse attention keep a cache of one or two bits on the device, the others fetch few tokens from host memory.

16 GB of weights at 936 GB/s are 17 ms; all 17 GB of keys over PCIe would be half a second and more. What is fetched is what a query wants.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("tailorkv#2")
def latency(bench: Bench) -> Finding:
    """Milliseconds a token."""
    bench.stated(model="llama-3.1-8b", machine="rtx-3090", context=128000, batch=1)
    spans = []
    for share in bench.unstated("share of the tokens fetched", (0.01, 0.05)):
        for link in bench.unstated("link to the host", (12e9, 25e9), "what PCIe 3.0 and 4.0 x16 carry"):
            answer = bench.ask(
                "llama-3.1-8b", "rtx-3090", [f"kv-retrieval-offload:tokens=0,share={share},summary=0.03"],
                phase="decode", batch=1, context=128000, overrides={"links.pcie.bandwidth": link},
            )  # fmt: skip
            spans.append(bench.time(answer).mapped(lambda x: x * 1e3))
    return over(
        spans,
        "weights, summaries of the keys, and picked tokens over the link a layer ahead; the few layers kept whole in low bits add under "
        "a millisecond. Gathers on the host and estimates from approximate queries are left out",
        more=False,
    )
