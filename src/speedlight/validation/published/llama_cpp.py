"""llama.cpp's benchmarks: speed of generating and of reading a prompt on one device, or layers split over several.

What a row's time is made of: weights read from memory; unpacking their integers on the vector unit (which is what limits fast
memories); launches; attention; and, of prompts, products at the rate of half precision with half-precision sums (what its
kernels ask for: twice a GeForce's rate with fp32 sums), read in pieces of ``ubatch`` tokens that pipeline over several devices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..._foundation.errors import SpeedlightError
from ..._foundation.formats import bytes_per_element
from ...costs.price import peak_for
from ...engine.questions.resolve import Resolved, resolve
from ...engine.serving.step_parts import decode_parts, prefill_parts
from ...hardware.machine import OperatingPoint
from ...placement.serving import Layout
from ...scenario.scenario import ModelRef, Program, Scenario
from ...workload.workload import Workload
from .bending import Levels, Part

# Words of a model's name in the table → our models (a coder or chat model has its base's sizes).
MODELS = {
    "llama 3 8b": "llama-3.1-8b", "llama-2 7b": "llama-2-7b", "llama 7b": "llama-7b", "gpt-oss 20b": "gpt-oss-20b",
    "gpt-oss-20b": "gpt-oss-20b", "gpt-oss 120b": "gpt-oss-120b", "gpt-oss-120b": "gpt-oss-120b",
    "qwen3moe 30b": "qwen3-30b-a3b", "qwen3-coder-30b": "qwen3-30b-a3b", "qwen2.5-coder-7b": "qwen2.5-7b",
    "llama 3 70b": "llama-3.1-70b",
}  # fmt: skip
FORMATS = {"q4_k": "q4_k", "q4_0": "q4_0", "q8_0": "q8_0", "f16": "fp16", "mxfp4": None}
UNPACKING = 8.0  # vector operations of a weight's byte: mask, shift, convert, scale of two values
LAUNCH = 3e-6  # seconds of one kernel before fitting
LEVELS: Levels = {
    "weights": (((), 1.0), (("side",), 0.3), (("release",), 0.2)),
    "unpack": (((), 1.0), (("side",), 0.5), (("architecture",), 0.3)),
    "launch": (((), 1.0), (("side",), 0.7), (("release",), 0.5)),
    "stream": (((), 1.0), (("side",), 0.7)),
    "attention": (((), 1.0), (("side",), 0.7), (("release",), 0.5)),
    "products": (
        ((), 1.0), (("side",), 0.6), (("architecture",), 0.5), (("release",), 0.4), (("architecture", "release"), 0.4),
    ),
    "prompt": (((), 1.0), (("side",), 0.7), (("release",), 0.7)),
}  # fmt: skip


@lru_cache(maxsize=256)
def loaded(model: str, number_format: str | None, machine: str) -> Resolved:
    program = Program(ModelRef(model, weights=number_format), Workload("decode", 1, context=1024), stack="llama.cpp")
    return resolve(Scenario((program,), machine))


def model_of(name: str) -> str | None:
    return next((ours for words, ours in MODELS.items() if words in name.lower()), None)


def part_of(row: Mapping[str, Any], machine: str) -> tuple[str, Part | None]:
    """(measured column, part) of a row; a prompt's time is of all its tokens."""
    name = str(row.get("model", ""))
    model = model_of(name)
    if model is None:
        return "unknown-model", None
    stated = f"{row.get('precision_weights', '')} {name}".lower()
    number_format = next((ours for word, ours in FORMATS.items() if word in stated), "q4_0")
    try:
        resolved = loaded(model, number_format, machine)
    except SpeedlightError:
        return "unknown-model", None
    batch = number(row.get("batch_or_concurrency")) or 1.0
    prompt, output, depth = (number(row.get(n)) for n in ("input_len", "output_len", "context_depth"))
    software = str(row.get("software", ""))
    found = re.search(r"build \d+|\b20[12]\d\b", software)
    release = found[0] if found else "2025"  # a year, or the build where it is named
    device = resolved.machine
    side = "cpu" if device.kind == "cpu" else device.vendor
    labels = {
        "side": side,
        "architecture": device.architecture,
        "release": release,
        "task": "generate" if output else "prompt",
    }
    labels["format"] = number_format or ""
    if output:
        context = max((depth if depth is not None else prompt or 0.0) + output / 2, 1.0)
        return "decode_tokens_per_s_per_seq", generating(resolved, batch, context, labels)
    if not prompt:
        return "invalid:input_len", None
    ubatch = re.search(r"ubatch (\d+)", software)
    devices = number(row.get("n_gpus")) or 1.0
    return "prefill_tokens_per_s", reading(
        resolved, prompt, depth or 0.0, float(ubatch[1]) if ubatch else 512.0, devices, labels
    )


def generating(resolved: Resolved, batch: float, context: float, labels: Mapping[str, str]) -> Part:
    """Seconds of one token of every sequence; the least is that of one, for a benchmark may send the same prompt to all."""
    parts = decode_parts(resolved, Layout(), np.array([batch, 1.0]), np.array([context, context]))
    said = {sort: float(values[0]) for sort, values in parts.seconds.items()}
    dense, head = stored(labels["format"])
    whole = said["gemm"] + said["moe"] + said["head"]
    weights = said["gemm"] * dense + said["moe"] + said["head"] * head
    vector = peak_for(resolved.machine, "vector", "fp32", None, OperatingPoint()).flops
    seconds = {
        "weights": weights, "unpack": weights * resolved.machine.main.bandwidth * UNPACKING / vector,
        "launch": 0.0 if labels["side"] == "cpu" else float(parts.launches[0]) * LAUNCH, "stream": said["stream"],
        "attention": said["decode"],
    }  # fmt: skip
    return Part(seconds, labels, float(parts.limit[1]) * weights / whole)


def reading(
    resolved: Resolved, prompt: float, depth: float, ubatch: float, devices: float, labels: Mapping[str, str]
) -> Part:  # fmt: skip
    """Seconds of a prompt on top of ``depth`` cached tokens."""
    piece = min(prompt, ubatch)
    pieces = max(prompt / piece, 1.0)
    lengths = np.array([piece, depth + prompt, max(depth, 1.0)])
    parts = prefill_parts(resolved, Layout(), np.ones(3), lengths)
    said = {sort: float(values[0]) for sort, values in parts.seconds.items()}
    attention = float(parts.seconds["prefill"][1] - (parts.seconds["prefill"][2] if depth else 0.0))
    piped = pieces * (pieces + devices - 1) / (devices * pieces)
    half = peak_ratio(resolved)
    seconds = {
        "launch": 0.0 if labels["side"] == "cpu" else float(parts.launches[0]) * LAUNCH * pieces,
        "stream": said["stream"] * piped, "products": (said["gemm"] + said["moe"] + said["head"]) * half * piped,
        "prompt": attention * half * piped / pieces,
    }  # fmt: skip
    return Part(seconds, {**labels, "amount": str(prompt)}, float(parts.limit[0]) * pieces * half / devices)


def stored(number_format: str) -> tuple[float, float]:
    """Bytes of dense layers and of the head in a GGUF file over those of the formats we price them in.

    Files keep the head of 4-bit models in q6_k and of 8-bit ones in q8_0; of models whose experts alone come in 4 bits,
    dense layers and head in q8_0.
    """
    eight = bytes_per_element("q8_0") / bytes_per_element("bf16")
    if not number_format:
        return eight, eight
    six = bytes_per_element("q6_k") / bytes_per_element("bf16")
    return 1.0, 1.0 if number_format == "fp16" else eight if number_format == "q8_0" else six


def peak_ratio(resolved: Resolved) -> float:
    """The matrix unit's rate with wide sums over its best one in half precision."""
    point = OperatingPoint()
    wide = peak_for(resolved.machine, "matmul", "bf16", None, point).flops
    best = wide
    for accumulate in ("fp16", None):
        try:
            best = max(best, peak_for(resolved.machine, "matmul", "fp16", accumulate, point).flops)
        except SpeedlightError:
            continue
    return float(wide / best)


def number(value: Any) -> float | None:
    """A cell's number; None for blanks and words."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found) and found >= 0 else None
