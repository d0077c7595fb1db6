"""Router-tuning: half of the tokens pass by the attention of some layers.

What they skip is a quarter of a layer's weights and all of its keys and values; at few tokens launches and weights stay.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("router-tuning#1")
def speed(bench: Bench) -> Finding:
    spans = []
    for model in bench.unstated("model", ("llama-3.1-8b", "mistral-7b", "qwen2.5-7b"), "models of 7 B and 8 B"):
        for machine in bench.unstated("machine", ("rtx-a6000", "a100-sxm-80gb")):
            for layers in bench.unstated("share of the layers with a router", (0.5, 1.0)):
                for sizes in bench.unstated(
                    "phase",
                    ({"phase": "prefill", "isl": 2048}, {"phase": "decode", "context": 2048}),
                    "prompts, or tokens one by one",
                ):
                    common: dict[str, Any] = {
                        **sizes,
                        "batch": 1,
                        "stack": bench.given("stack", "transformers", "assumed"),
                    }
                    before, after = (
                        bench.ask(model, machine, t, **common) for t in ((), (f"router-tuning:layers={layers}",))
                    )
                    spans.append(bench.speedup(before, after).mapped(lambda x: (x - 1) * 100))
    return over(spans, "half of the tokens skip attention; which layers and what is measured is open")
