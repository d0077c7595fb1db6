"""COMET: most channels multiplied in INT4, outliers in INT8 by one kernel, keys and values in 4 bits.

On an A100 INT4 products are four times FP16's; a kernel that mixes formats reaches what INT8 ones reach of their rate. At the end the
smaller weights and caches let more sequences in, and each step reads less for all of them.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives
from .parts import of_kind

MACHINE = "a100-sxm-80gb"
BASELINES = (
    ("weight-only-int",),
    ("weight-only-int", "kv-quantization:format=int8"),
    ("w8a8", "kv-quantization:format=int8"),
)
BATCHES = (256, 128, 64, 32, 16, 8, 4, 2, 1)


@derives("comet#1")
def kernel(bench: Bench) -> Finding:
    """All linear layers of a step of so many rows, cuBLAS in FP16 over W4Ax."""
    bench.stated(machine=MACHINE)
    spans = []
    for model in bench.unstated("model", ("llama-2-7b", "llama-2-13b", "llama-2-70b"), "LLaMA family"):
        for rows in bench.unstated("rows of a product", (16, 64, 256)):
            common: dict[str, Any] = {"phase": "decode", "batch": rows, "context": bench.given("context", 64, "published", "no matter: products alone count"),
                                      "stack": bench.given("stack", "tensorrt-llm", "published", "cuBLAS's kernels"), "dtype": "fp16"}  # fmt: skip
            share = bench.given("share", 0.84, "assumed", "of the channels in 4 bits")
            spans.append(of_kind(bench, "matmul", model, MACHINE, [f"w4a4kv4:share={share}"], common))
    return over(
        spans,
        "the mixed kernel is taken to reach of its rates what INT8 kernels do; balancing INT4 and INT8 tiles is taken to be perfect",
    )


@derives("comet#2")
def served(bench: Bench) -> Finding:
    """Tokens a second at the largest batch that fits, TensorRT-LLM in its best format against W4A4KV4."""
    bench.stated(machine=MACHINE)
    formats = bench.given("baseline", BASELINES, "assumed", "TensorRT-LLM's narrow formats; the fastest counts")
    spans = []
    for model in bench.unstated("model", ("llama-2-7b", "llama-2-13b", "llama-30b", "llama-2-70b"), "LLaMA family"):
        after = _fullest(bench, model, ("w4a4kv4",))
        bases = [b for b in (_fullest(bench, model, base) for base in formats) if b is not None]
        if bases and after is not None:
            best = max(bases, key=lambda b: float(b.throughput["value"]))
            spans.append(bench.speedup(best, after, "throughput"))
    return over(
        spans, "decode steps half-way through 1024 + 512 tokens at the largest power of two that fits, 256 at most"
    )


def _fullest(bench: Bench, model: str, techniques: tuple[str, ...]) -> Any:
    for batch in BATCHES:
        answer = bench.ask(
            model, MACHINE, techniques, phase="decode", batch=batch, context=1280, stack="tensorrt-llm", dtype="fp16"
        )
        if bool(answer.fits):
            return answer
    return None
