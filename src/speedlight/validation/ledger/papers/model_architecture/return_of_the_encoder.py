"""Return of the encoder: a small encoder–decoder reads its input once with part of its layers and answers with the rest."""

from __future__ import annotations

import json
from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from .images import saved

WIDTH, HEADS, NEURONS, WORDS = 960, 15, 2560, 32768


def _decoder(layers: int) -> str:
    return json.dumps({
        "model_type": "llama", "_name_or_path": f"decoder-{layers}", "hidden_size": WIDTH, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "intermediate_size": NEURONS, "vocab_size": WORDS, "max_position_embeddings": 4096, "torch_dtype": "float16",
    })  # fmt: skip


def _both(layers: int) -> str:
    """Two thirds of the layers in the encoder."""
    third = layers // 3
    return json.dumps({
        "model_type": "t5", "_name_or_path": f"encoder-decoder-{layers}", "d_model": WIDTH, "d_kv": 64, "d_ff": NEURONS, "num_heads": HEADS,
        "num_layers": layers - third, "num_decoder_layers": third, "vocab_size": WORDS, "feed_forward_proj": "gated-silu", "torch_dtype": "float16",
    })  # fmt: skip


def _machines(bench: Bench) -> Any:
    return bench.unstated("machine", ("jetson-agx-orin-64gb", "rtx-3060-12gb", "i9-13900k"), "edge devices: GPU, CPU")


@derives("return-of-the-encoder#1")
def first_token(bench: Bench) -> Finding:
    """Until the first token of an answer to a long input."""
    spans: list[Span] = []
    for machine in _machines(bench):
        for isl in bench.unstated("isl", (512, 2048)):
            before = bench.ask(
                _decoder(30), machine, phase="prefill", batch=1, isl=isl, stack="transformers", dtype="fp16"
            )
            after = bench.ask(_both(30), machine, phase="prefill", batch=1, isl=isl, stack="transformers", dtype="fp16")
            spans.append(saved(bench.speedup(before, after, "latency")))
    return over(spans, "a prompt through 30 layers, or through 20 of an encoder and one position of 10 of a decoder")


@derives("return-of-the-encoder#2")
def rate(bench: Bench) -> Finding:
    """Requests a second with long inputs and answers."""
    spans: list[Span] = []
    for machine in _machines(bench):
        for isl, osl in bench.unstated("isl, osl", ((512, 64), (2048, 128))):
            common: dict[str, Any] = {
                "phase": "generate",
                "batch": 1,
                "isl": isl,
                "osl": osl,
                "stack": "transformers",
                "dtype": "fp16",
            }
            before, after = bench.ask(_decoder(30), machine, **common), bench.ask(_both(30), machine, **common)
            spans.append(bench.speedup(before, after, "latency"))
    return over(
        spans,
        "steps of a third of the layers, cross-attention to what the encoder left beside; the claim's models are not named",
    )
