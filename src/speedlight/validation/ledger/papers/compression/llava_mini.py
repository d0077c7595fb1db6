"""LLaVA-Mini: four layers let the text take up 576 picture tokens, the language model then sees one.

FLOPs are the picture encoder's, the four layers' on all tokens and the language model's on the text and one token.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

MODEL = "llava-1.5-7b"


def _texts(bench: Bench) -> Any:
    return bench.unstated("text tokens", (30, 45, 60), "a question about a picture")


def _machine(bench: Bench) -> str:
    return bench.given("machine", "a100-sxm-80gb", "assumed", "a GPU of the paper's year")


@derives("llava-mini#2")
def flops(bench: Bench) -> Finding:
    bench.given("layers", 4, "assumed", "that fuse the modalities")
    found = []
    for text in _texts(bench):
        common: dict[str, Any] = {"phase": "prefill", "batch": 1, "isl": text, "images": 1}
        before, after = (
            float(bench.ask(MODEL, _machine(bench), t, **common).flops) for t in ((), ("vision-token-fusion",))
        )
        found.append(exactly((1 - bench.size(after) / before) * 100))
    return over(found, "picture encoder, fusing layers and language model, before and after")


@derives("llava-mini#3")
def latency(bench: Bench) -> Finding:
    bench.given("layers", 4, "assumed", "that fuse the modalities")
    spans = []
    for text in _texts(bench):
        for stack in bench.unstated("stack", ("transformers", "vllm")):
            answer = bench.ask(
                MODEL,
                _machine(bench),
                ["vision-token-fusion"],
                phase="prefill",
                batch=1,
                isl=text,
                images=1,
                stack=stack,
            )
            spans.append(bench.time(answer).mapped(lambda s: s * 1e3))
    return over(
        spans,
        "time to the first token: the language model's weights are read once, pictures and fusing layers are products",
        more=False,
    )


@derives("llava-mini#4")
def frames(bench: Bench) -> Finding:
    """Tokens of keys and values beside the weights."""
    bench.stated(memory="24 GB", tokens_a_frame=1)
    facts = bench.facts(bench.given("model", MODEL, "published"))
    found = []
    for reserve in bench.unstated("bytes of the runtime and of a step", (0.6e9, 3e9)):
        free = bench.size(24e9) - facts["weight_bytes"] * (1 + 4 / 32 * 0.92) - reserve
        found.append(exactly(free / facts["kv_bytes_per_token"]))
    return over(found, "24 GB less the model's weights and its fusing layers', over 0.5 MB of keys and values a frame")
