"""EfficientLLM: techniques measured on one cluster; what 4 bits save is arithmetic of bytes."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("efficientllm#6")
def four_bits(bench: Bench) -> Finding:
    """Bytes of linear layers in 16 bits over 4 bits and their groups' scales."""
    bench.given("format", "int4 beside float16")
    bench.given("claim is about", "models of 0.5 to 72 B parameters")
    return over(
        [exactly(16 / bench.bits("int4"))],
        "bits of a weight, scales of groups of 128 included; energy of a read goes with its bytes",
    )
