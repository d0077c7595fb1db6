"""Coupled quantisation: a group of channels shares one code, so a channel takes code bits over channels.

Codebooks are as many vectors as a code can name, for every group of every layer: bits that many cached tokens share.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("kv-cache-is-1-bit-per-channel#1")
def bits(bench: Bench) -> Finding:
    """Bits of a channel of one token, its part of the codebooks included."""
    spans = []
    for code in bench.unstated("channels of a group, and bits of its code", (4, 8)):
        for tokens in bench.unstated("cached tokens of all sequences", (16384, 131072, 1048576)):
            question: dict[str, Any] = {"phase": "decode", "batch": 1, "context": 16384}
            whole = bench.ask("llama-2-7b", "a100-sxm-80gb", **question)
            coded = bench.ask(
                "llama-2-7b", "a100-sxm-80gb", [f"kv-coupled-quantization:channels={code},code={code}"], **question
            )
            each = bench.bits("bf16") * bench.memory(coded, "kv").value / bench.memory(whole, "kv").value
            spans.append(exactly(each + bench.bits("bf16") * 2.0**code / tokens))
    return over(
        spans, "a code's bits over its channels, and codebooks in 16 bits over the tokens that use them", more=False
    )
