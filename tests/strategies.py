"""Hypothesis strategies of the domain: models, machines, sizes, layouts. Every new feature joins them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

# Small enough to be fast, together covering every mixer, feed-forward and kind of machine.
GENERATORS = (
    "llama-3.1-8b", "gpt2-xl", "qwen3-30b-a3b", "deepseek-v3", "gemma-3-27b", "gpt-oss-120b", "mixtral-8x7b",
    "mamba-2.8b", "qwen3.5-27b", "opt-13b", "falcon-7b",
)  # fmt: skip
ENCODERS = ("bert-large", "vit-b-16")
MACHINES = (
    "h100-sxm-80gb", "a100-sxm-40gb", "rtx-4090", "p100-pcie-16gb", "mi300x", "i9-10940x", "apple-m3-max-40c-128gb",
    "tpu-v5e", "gaudi2", "dgx-h200",
)  # fmt: skip
STACKS = ("ideal", "torch-eager", "torch-compile", "vllm", "llama.cpp")


@dataclass(frozen=True)
class Question:
    model: str
    machine: str
    options: dict[str, Any]


@st.composite
def questions(draw: st.DrawFn, generators_only: bool = False) -> Question:
    """Any model on any machine in any phase it has, at modest sizes."""
    model = draw(st.sampled_from(GENERATORS if generators_only else GENERATORS + ENCODERS))
    machine = draw(st.sampled_from(MACHINES))
    phases = ["forward"] if model in ENCODERS else ["forward", "prefill", "decode", "generate"]
    options = {
        "phase": draw(st.sampled_from(phases)),
        "batch": draw(st.integers(1, 64)),
        "isl": draw(st.integers(1, 4096)),
        "osl": draw(st.integers(1, 300)),
        "context": draw(st.integers(0, 40_000)),
        "stack": draw(st.sampled_from(STACKS)),
    }
    if draw(st.booleans()):
        options["dtype"] = draw(st.sampled_from(["fp32", "bf16", "fp16"]))
    return Question(model, machine, options)


@st.composite
def op_lists(draw: st.DrawFn) -> dict[str, Any]:
    """An ops file of one to four templates, every size anything from 1 to a million."""
    from speedlight.frontends.op_list.templates import TEMPLATES

    names = draw(st.lists(st.sampled_from([*TEMPLATES]), min_size=1, max_size=4))
    ops = []
    for number, name in enumerate(names):
        arguments = TEMPLATES.get(name).arguments
        given: dict[str, Any] = {k: 2 ** draw(st.integers(0, 10)) for k, a in arguments.items() if a.required}
        for key, argument in arguments.items():
            if argument.words and draw(st.booleans()):
                given[key] = draw(st.sampled_from(argument.words))
            if argument.low is not None and number > 1:  # at most a few stay open
                given[key] = draw(st.floats(0.1, 0.9))
        ops.append(
            {"name": f"op{number}", "template": name, "with": {**given, "ranks": 4} if "ranks" in given else given}
        )
    return {"schema": 1, "name": "drawn", "dtype": draw(st.sampled_from(["fp16", "fp32", "int8"])), "ops": ops}
