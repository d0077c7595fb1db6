"""FlexLLM: fine-tuning tokens ride in decode steps.

Over a frozen base an adapter's gradients need few of the inputs that full training keeps; and a decode step's products wait for weights,
so that tokens of training are nearly free until the matrix units are full.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .....engine.predict import predict
from .....scenario.scenario import Rewrite
from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives


@derives("flexllm#1")
def activations(bench: Bench) -> Finding:
    """Activations kept for the backward pass, all against what adapters need."""
    spans = []
    for model in bench.unstated("model", ("llama-3.1-8b", "qwen2.5-14b")):
        asked: dict[str, Any] = {"phase": "train", "batch": 1, "isl": 4096, "micro_batch": 1, "stack": "torch-eager"}
        everything = bench.ask(model, "h100-sxm-80gb", **asked)
        for layers in bench.unstated("projections with an adapter", ("down_proj", "q_proj,v_proj"), "the usual ones"):
            question = bench.question(model, "h100-sxm-80gb", **asked)
            adapted = question.with_program(
                model=dataclasses.replace(
                    question.program.model, rewrites=(Rewrite("lora", (("rank", 16), ("of", layers))),)
                )
            )
            some = predict(adapted, details=False)
            spans.append(
                exactly(bench.memory(everything, "activations").value / bench.memory(some, "activations").value)
            )
    return over(
        spans,
        "bytes kept by a training step of all weights over those of adapters of rank 16 on some projections: norms, gates and "
        "attention keep theirs either way; computing those again, and windows of a sequence at a time, are left unexplained",
    )


@derives("flexllm#3")
def preserved(bench: Bench) -> Finding:
    """Training tokens a second beside decoding, in % of those alone."""
    spans = []
    for tokens in bench.unstated("training tokens of a step", (512, 2048)):
        for batch in bench.unstated("decoding sequences", (32, 128)):
            beside = bench.ask(
                "llama-3.1-8b",
                "h100-sxm-80gb",
                [f"co-served-finetuning:tokens={tokens}"],
                phase="decode",
                batch=batch,
                context=1024,
            )
            alone = bench.ask("llama-3.1-8b", "h100-sxm-80gb", phase="prefill", batch=2, isl=tokens)
            made = bench.speedup(beside, alone)  # work differs; seconds of the two are compared
            share = float(alone.time / beside.time) * 100
            width = float(made.high / made.low) ** 0.5
            spans.append(Span(share / width, share, min(share * width, 100.0), 100.0))
    return over(spans, "two passes of the training tokens alone, over the same in a step that decodes too")
