"""Offline throughput of servers: TensorRT-LLM's published maxima and MLPerf's Offline scenario.

A language model's engine keeps as many sequences in flight as its memory holds; every output token costs its share of a decode
step and of its prompt. Engines of MLPerf are taken as small as leaves room for a cache. Encoders, image networks and diffusion
models run whole batches. MLPerf's workloads are fixed (its task descriptions): what a request holds on average stands in
:data:`TASKS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..._foundation.errors import SpeedlightError
from ...engine.predict import predict
from ...engine.questions.resolve import Resolved, resolve
from ...engine.serving.engine_memory import DEFAULT, divided, engine_memory
from ...engine.serving.step_parts import SORTS, decode_parts, prefill_parts, routed
from ...hardware.catalogue import load_machine
from ...placement.serving import Layout, fits
from ...scenario.scenario import ModelRef, Program, Scenario
from ...workload.workload import Workload
from .bending import Levels, Part
from .llama_cpp import number

MOST = 2048.0  # sequences an engine runs at once
BUDGET = 8192.0  # prompt tokens of a step
ROOM = 0.3  # share of memory an engine of MLPerf leaves to its cache at least
STEP = 1e-3  # seconds the host takes for a step before fitting
# Task of MLPerf → (model, prompt tokens, output tokens): means of OpenOrca, of CNN/DailyMail and of its mixed set.
TASKS = {
    "llama2-70b": ("llama-2-70b", 294.0, 294.0), "mixtral-8x7b": ("mixtral-8x7b", 400.0, 146.0),
    "gptj": ("gpt-j-6b", 870.0, 69.0),
}  # fmt: skip
WHOLE = {"bert": ("bert-large", 178, 128, "int8", 1.0, "encoder"), "resnet50": ("resnet50", 0, 256, "bf16", 1.0, "images"),
         "stable-diffusion-xl": ("sdxl", 0, 4, "bf16", 40.0, "diffusion")}  # fmt: skip
NAMES = {
    "Llama 3.1 405B": "llama-3.1-405b", "Llama 3.1 8B": "llama-3.1-8b", "Llama 3.3 70B": "llama-3.1-70b",
    "Llama 4 Maverick": "llama-4-maverick", "Llama 4 Scout": "llama-4-scout", "Qwen3-235B-A22B": "qwen3-235b-a22b",
    "Qwen3-30B-A3B": "qwen3-30b-a3b",
}  # fmt: skip
FORMATS = {"FP4": ("nvfp4", "nvfp4", "fp8"), "FP8": ("fp8", None, "fp8"), "BF16": (None, None, None)}
_SORT = (((), 0.3), (("source",), 0.3), (("architecture",), 0.2), (("source", "architecture"), 0.2))
LEVELS: Levels = {
    **dict.fromkeys(SORTS, _SORT),
    "steps": (((), 1.0), (("source",), 0.7)),
    "whole": (((), 0.5), (("task",), 0.7), (("architecture",), 0.3), (("task", "architecture"), 0.3)),
}  # fmt: skip


@lru_cache(maxsize=256)
def loaded(model: str, formats: tuple[str | None, str | None, str | None], machine: str) -> Resolved:
    ref = ModelRef(model, weights=formats[0], activations=formats[1], kv=formats[2])
    program = Program(ref, Workload("decode", 1, context=1024), stack="tensorrt-llm")
    return resolve(Scenario((program,), machine))


def published(row: Mapping[str, Any], machine: str) -> tuple[str, Part | None]:
    """(measured column, seconds of an output token) of TensorRT-LLM's table."""
    model = NAMES.get(str(row.get("model")))
    formats = FORMATS.get(str(row.get("precision_weights")), FORMATS["BF16"])
    isl, osl = number(row.get("input_len")), number(row.get("output_len"))
    if model is None:
        return "unknown-model", None
    if not isl or not osl:
        return "invalid:input_len", None
    tp, pp = (int(number(row.get(n)) or 1) for n in ("tp", "pp"))
    devices = number(row.get("n_gpus")) or tp * pp
    column = "throughput_output_tokens_per_s"
    priced = [
        tokens(model, formats, machine, layout, devices, isl, osl, "trtllm")
        for layout in layouts(loaded(model, formats, machine), tp, pp)
    ]
    found = [part for part in priced if part is not None]
    if not found:
        return column, None
    best = min(found, key=lambda part: sum(part.seconds.values()))
    return column, Part(best.seconds, best.labels, min(part.limit for part in found))


def layouts(resolved: Resolved, tp: int, pp: int) -> tuple[Layout, ...]:
    """What so many ranks may have run. A published maximum of a model with experts may rest on attention replicated on every
    rank and experts spread over them, which its table leaves open; the faster is meant."""
    cut = Layout(tp, 1, tp, 1, pp)
    return (cut, Layout(1, tp, 1, tp, pp)) if tp > 1 and routed(resolved.graph)[0] else (cut,)


def mlperf(row: Mapping[str, Any], machine: str) -> tuple[str, Part | None]:
    """(measured column, seconds of a token or sample) of an Offline result."""
    name = str(row.get("model"))
    devices = number(row.get("n_gpus")) or 1.0
    device = load_machine(machine, None)
    for task, (model, isl, osl) in TASKS.items():
        if name.startswith(task):
            narrow = "nvfp4" if device.architecture.startswith("Blackwell") else "fp8"
            formats = (narrow, "nvfp4" if narrow == "nvfp4" else None, "fp8")
            try:
                layout = smallest(model, formats, machine, int(devices))
            except SpeedlightError:
                return "unsupported:format", None
            part = tokens(model, formats, machine, layout, devices, isl, osl, "mlperf")
            if part is not None and task == "gptj":  # its log counts samples
                seconds = {c: v * osl for c, v in part.seconds.items()}
                return "samples_per_s", Part(seconds, part.labels, part.limit * osl)
            return "throughput_output_tokens_per_s", part
    for task, stated in WHOLE.items():
        if name.startswith(task):
            return "samples_per_s", whole(machine, devices, *stated)
    return "out-of-scope:task", None


def smallest(model: str, formats: tuple[str | None, str | None, str | None], machine: str, devices: int) -> Layout:
    """The fewest ranks whose memory keeps :data:`ROOM` for a cache."""
    resolved = loaded(model, formats, machine)
    tp = 1
    while tp < devices:
        memory = engine_memory(resolved, Layout(tp, 1, tp, 1))
        if memory.cache > ROOM * memory.total or not bool(fits(resolved.graph, Layout(2 * tp, 1, 2 * tp, 1))):
            break
        tp *= 2
    return Layout(tp, 1, tp, 1)


def tokens(
    model: str, formats: tuple[str | None, str | None, str | None], machine: str, layout: Layout, devices: float, isl: float,
    osl: float, source: str,
) -> Part | None:  # fmt: skip
    """Seconds of one output token of the whole system, at the load its memory allows."""
    try:
        resolved = loaded(model, formats, machine)
    except SpeedlightError:
        return None
    memory = engine_memory(resolved, layout)
    stages = float(layout.pp)
    held = divided(memory.total, memory.weights / stages, memory.token / stages, "tensorrt-llm", DEFAULT)
    flight = min(max(held.tokens / (isl + osl), 1.0), MOST)
    batch = max(flight / stages, 1.0)
    engines = max(devices / float(layout.world), 1.0) * float(layout.adp)  # attention ranks with sequences of their own
    step = decode_parts(resolved, layout, np.array([batch]), np.array([isl + osl / 2]))
    count = max(np.floor(BUDGET / isl), 1.0)
    prompt = prefill_parts(resolved, layout, np.array([count]), np.array([isl]))
    each = 1.0 / (batch * stages * engines)
    ahead = 1.0 / (count * osl * stages * engines)
    seconds = {s: float(step.seconds[s][0]) * each + float(prompt.seconds[s][0]) * ahead for s in SORTS}
    seconds["steps"] = STEP * (each * stages + ahead)
    limit = float(step.limit[0]) * each
    labels = {"source": source, "architecture": resolved.machine.architecture, "task": "tokens"}
    return Part(seconds, labels, limit)


@lru_cache(maxsize=256)
def _call(machine: str, model: str, isl: int, batch: int, number_format: str) -> tuple[float, float]:
    """Seconds of one pass over a batch, expected and least."""
    image = model == "resnet50"
    workload = Workload("forward", batch, isl) if isl else Workload("forward", batch)
    program = Program(ModelRef(model, dtype=number_format), workload, stack="tensorrt" if image else None)
    found = predict(Scenario((program,), machine), details=False)
    return float(found.time), float(found.limit)


def whole(
    machine: str, devices: float, model: str, isl: int, batch: int, number_format: str, passes: float, task: str
) -> Part | None:  # fmt: skip
    """Seconds of a sample of the whole system, run batch by batch; 8-bit products may halve what 16-bit ones allow."""
    try:
        time, limit = _call(machine, model, isl, batch, number_format)
    except SpeedlightError:
        return None
    each = passes / (batch * devices)
    labels = {"source": "mlperf", "architecture": load_machine(machine).architecture, "task": task}
    return Part({"whole": time * each}, labels, limit * each / (1.0 if number_format == "int8" else 2.0))
