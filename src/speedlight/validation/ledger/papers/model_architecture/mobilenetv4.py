"""MobileNetV4: inverted bottlenecks for every phone's units, and attention whose heads share keys and values."""

from __future__ import annotations

import json
from typing import Any

from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from .images import gain

TOKENS: dict[str, Any] = {
    "phase": "prefill",
    "batch": 1,
    "isl": 196,
    "dtype": "fp16",
    "stack": "onnxruntime",
}  # 14 × 14 positions


def _model(width: int, heads: int, shared: bool) -> str:
    return json.dumps({
        "model_type": "llama", "_name_or_path": f"attention-{width}-{heads}", "hidden_size": width, "num_hidden_layers": 4,
        "num_attention_heads": heads, "num_key_value_heads": 1 if shared else heads, "intermediate_size": width, "vocab_size": 256,
        "max_position_embeddings": 1024, "torch_dtype": "float16",
    })  # fmt: skip


def _attention(answer: Prediction) -> float:
    return sum(float(op.time) for op in answer.ops if "self_attn" in op.name)


@derives("mobilenetv4-universal-models-for-the-mobile-ecosystem#1")
def attention(bench: Bench) -> Finding:
    """Attention with one head of keys and values beside attention with as many as there are queries."""
    spans = []
    for width, heads in bench.unstated(
        "width, heads", ((384, 6), (512, 8), (768, 12)), "attention at 14 × 14 positions"
    ):
        before, after = (bench.detailed(_model(width, heads, shared), "pixel-8", **TOKENS) for shared in (False, True))
        factor = _attention(before) / _attention(after)
        spans.append(gain(Span(factor * 0.95, factor, factor * 1.05, float(before.time) / float(after.limit))))
    return over(
        spans,
        "projections and products of attention on a phone's accelerator, every op a kernel; its peaks and launches are assumed",
    )


@derives("mobilenetv4-universal-models-for-the-mobile-ecosystem#3")
def latency(bench: Bench) -> Finding:
    """One image on the accelerator of a Pixel 8, whose peaks nobody publishes."""
    bench.stated(model="mobilenetv4_hybrid_large", machine="pixel-8")
    spans = []
    for stack in bench.unstated("stack", ("tensorrt",), "a compiler that fuses norms and rectifiers"):
        answer = bench.ask("mobilenetv4_hybrid_large", "pixel-8", phase="forward", batch=1, dtype="fp16", stack=stack)
        spans.append(bench.time(answer).mapped(lambda s: s * 1e3))
    return over(
        spans, "one image, every op on the accelerator in 16 bits; its peaks and launches are assumed", more=False
    )
