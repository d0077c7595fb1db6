"""Scale efficiently: thinner, deeper T5 shapes of the same quality."""

from __future__ import annotations

import json
from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives
from ..model_architecture.images import gain

LAYERS = (
    12,
    13,
    14,
)  # of encoder and of decoder each, at the width of T5-small: half of T5-base's parameters, and around


def _t5(layers: int) -> str:
    return json.dumps({
        "model_type": "t5", "_name_or_path": f"t5-small-{layers}-layers", "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_heads": 8,
        "num_layers": layers, "num_decoder_layers": layers, "vocab_size": 32128, "feed_forward_proj": "relu", "torch_dtype": "float32",
    })  # fmt: skip


@derives("scale-efficiently#1")
def parameters(bench: Bench) -> Finding:
    bench.given("baseline", "t5-base")
    base = bench.facts("t5-base")["params"]
    spans = [
        exactly(bench.size((1 - bench.facts(_t5(layers))["params"] / base) * 100))
        for layers in bench.unstated("layers", LAYERS, "a deep, narrow shape: T5-small's width")
    ]  # fmt: skip
    return over(spans, "parameters of a T5 of width 512 with more layers, beside T5-base")


@derives("scale-efficiently#2")
def training(bench: Bench) -> Finding:
    """Steps a second of the same tokens."""
    spans = []
    for machine in bench.unstated("machine", ("tpu-v3",), "what T5 was trained on"):
        for layers in bench.unstated("layers", LAYERS, "a deep, narrow shape: T5-small's width"):
            common: dict[str, Any] = {"phase": "train", "batch": 16, "isl": 512, "osl": 114, "dtype": "bf16"}
            spans.append(
                gain(bench.speedup(bench.ask("t5-base", machine, **common), bench.ask(_t5(layers), machine, **common)))
            )
    return over(spans, "a training step of as many tokens on one chip")
