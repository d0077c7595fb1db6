"""The answer's sentences: the question echoed, the headline, crossovers and sensitivities in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .._foundation.provenance import Assumption
from .._foundation.quantity import format_bytes, format_percent, format_si, format_time
from ..engine.answers.prediction import Crossover, Prediction, Sensitivity
from .theme import bound_label
from .view import UNKNOWN, clean, number, ranged, whole_number, worst

CALLS = {
    "decode": "per decode step", "prefill": "per prefill", "forward": "per forward pass",
    "generate": "for the whole generation", "train": "per optimizer step",
}  # fmt: skip
_ADJECTIVES = {
    "hbm": "memory-bound", "matmul": "matmul-bound", "vector": "vector-bound", "cache": "cache-bound",
    "sram": "SRAM-bound", "host_dram": "host-memory-bound", "launch": "launch-bound", "latency": "latency-bound",
}  # fmt: skip
_PLURALS = {
    "batch": "batch {}",
    "context": "{} tokens of context",
    "tokens": "{} tokens in a step",
    "isl": "{} prompt tokens",
}


def called(prediction: Prediction) -> str:
    """What the answer's time is of: a call of the phase; of drafted decoding, whose steps yield several, a token."""
    workload = prediction.scenario.program.workload
    plain = type(workload.outputs) in (int, float) and workload.outputs == 1
    if prediction.phase == "decode" and not plain and not workload.groups:
        return "per token of each sequence"
    return CALLS.get(prediction.phase, "per call")


def amount(value: Any) -> str:
    """Parameter counts as people say them: ``8.03 B``."""
    found = number(value)
    if found is None:
        return UNKNOWN
    for factor, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(found) >= factor:
            return f"{found / factor:.3g} {name}"
    return whole_number(found)


def sparse(params: float | None, active: float | None) -> bool:
    """Whether a token uses a part of the parameters worth naming (leaving out embedding tables is not)."""
    return bool(params and active and active < 0.5 * params)


def rate(value: float | None, unit: str) -> str:
    """``191 tokens/s``, ``12,400 tokens/s``, ``2.35 M tokens/s``."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) >= 1e6:
        return f"{format_si(value, '')} {unit}"
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"


def devices_used(prediction: Prediction) -> Any:
    """Devices the program runs on: the placement's world size, else the whole machine."""
    return prediction.machine.get("used", prediction.machine.get("n_devices", 1))


def model_line(model: Mapping[str, Any]) -> str:
    """``llama-3.1-8b · 8.03 B parameters · weights 15 GiB · KV 128 KiB/token``."""
    parts = [clean(model.get("id", "?"))]
    params, active = number(model.get("params")), number(model.get("active_params"))
    if params:
        part = f"{amount(params)} parameters"
        if sparse(params, active):
            part += f" ({amount(active)} active)"
        parts.append(part)
    if model.get("weight_bytes"):
        parts.append(f"weights {format_bytes(number(model['weight_bytes']))}")
    if model.get("kv_bytes_per_token"):
        parts.append(f"KV {format_bytes(number(model['kv_bytes_per_token']))}/token")
    return " · ".join(parts)


def devices_words(prediction: Prediction) -> str:
    """``4 × h100-sxm-80gb``, or ``2 devices of dgx-h100`` where the machine holds several of another name."""
    machine = prediction.machine
    ident = clean(machine.get("id", "?"), 80)
    used, have = worst(devices_used(prediction)), worst(machine.get("n_devices"))
    count = ranged(devices_used(prediction), whole_number)
    device = machine.get("device")
    if (device and device != machine.get("id")) or (used and have and used < have):
        return f"{count} device{'' if count == '1' else 's'} of {ident}"
    return f"{count} × {ident}"


def machine_line(prediction: Prediction) -> str:
    """``4 × h100-sxm-80gb · NVIDIA H100 SXM5 80GB``."""
    machine = prediction.machine
    name = clean(machine.get("name", "") or "")
    words = devices_words(prediction)
    return f"{words} · {name}" if name and name != machine.get("id") else words


def asked(prediction: Prediction) -> str:
    """Phase and sizes: ``decode · batch 1 · context 1,024``."""
    workload = prediction.scenario.program.workload
    tokens = prediction.throughput.get("unit") == "tokens/s"
    names = [] if prediction.attrs.get("batchless") else ["batch"]
    if tokens:
        names += {"decode": ["context"], "generate": ["isl", "osl"]}.get(prediction.phase, ["isl"])
    parts = [prediction.phase]
    if workload.groups:
        parts += [
            f"{ranged(g.count, whole_number)} × ({ranged(g.new, whole_number)} new, "
            f"{ranged(g.cached, whole_number)} cached)"
            for g in workload.groups[:6]
        ]
    else:
        parts += [f"{name} {ranged(getattr(workload, name), whole_number)}" for name in names]
    parts += [f"{clean(k, 40)} {ranged(v, _plain_number)}" for k, v in workload.symbols.items()]
    if prediction.phase == "train":
        training = workload.training
        parts += [training.optimizer, f"recompute {training.recompute}"]
        if training.micro_batch is not None:
            parts.append(f"micro-batch {ranged(training.micro_batch, whole_number)}")
    return " · ".join(parts)


def _plain_number(value: float | None) -> str:
    """Sizes as whole numbers, shares as they are."""
    if value is None:
        return whole_number(value)
    return whole_number(value) if float(value).is_integer() else f"{value:.4g}"


def how(prediction: Prediction) -> str:
    """Stack, formats, degrees and whatever else the question set away from its default."""
    scenario = prediction.scenario
    program = scenario.program
    model, parallel, point = program.model, program.parallel, scenario.point
    formats = [f"{n} {clean(v, 40)}" for n in ("dtype", "weights", "activations", "kv") if (v := getattr(model, n))]
    mixed = [f"autocast {clean(model.autocast, 40)}"] if model.autocast else []
    parts = [clean(prediction.stack), *(formats or mixed or ["formats as configured"])]
    parts += mixed if formats else []
    if model.tf32:
        parts.append(f"TF32 {clean(model.tf32, 40)}")
    if model.layout:
        parts.append(clean(model.layout, 40).replace("_", " "))
    parts += [f"rewritten: {clean(each.name, 40)}" for each in model.rewrites]
    if model.mtp:
        parts.append(f"{model.mtp} draft passes")
    for axis, usual in (("tp", 1), ("pp", 1), ("dp", 1), ("ep", 1), ("etp", None), ("cp", 1), ("sp", 0), ("zero", 0)):
        degree = getattr(parallel, axis)
        if degree is not None and number(degree) != usual:
            parts.append(f"{axis} {ranged(degree, whole_number)}")
    training = program.workload.training
    if prediction.phase == "train" and number(parallel.pp) != 1:
        stages = f":{ranged(training.virtual, whole_number)}" if number(training.virtual) != 1 else ""
        parts.append(f"{clean(training.schedule, 40)}{stages}")
    parts += [f"{clean(cls, 40)} in {clean(tier, 40)}" for cls, tier in training.offload]
    for place in program.workload.places:
        share = "" if number(place.share) == 1 else f"{ranged(place.share, lambda v: f'{v:.0%}')} of "
        parts.append(f"{share}{clean(place.cls, 40)} in {clean(place.tier, 40)}, {clean(place.way, 40)}")
    for name, label in (("core_clock", "core clock"), ("memory_clock", "memory clock"), ("fabric_clock", "link clock")):
        factor = getattr(point, name)
        if number(factor) != 1.0:
            parts.append(f"{label} × {ranged(factor, lambda v: f'{v:.3g}')}")
    if point.power_w is not None:
        parts.append(f"power limit {ranged(point.power_w, lambda v: format_si(v, 'W'))}")
    parts += [f"with {clean(t.name, 60)}" for t in scenario.techniques]
    parts += [
        f"{clean(path, 60)} = {ranged(value, lambda v: f'{v:.4g}')}" for path, value in scenario.overrides.items()
    ]
    return " · ".join(parts)


def question(prediction: Prediction) -> list[tuple[str, str]]:
    """The inputs echoed, as (label, line)."""
    return [
        ("model", model_line(prediction.model)),
        ("machine", machine_line(prediction)),
        ("asked", asked(prediction)),
        ("how", how(prediction)),
    ]


def title(prediction: Prediction) -> str:
    """One line that names the question."""
    return f"{clean(prediction.model.get('id', '?'), 80)} · {prediction.phase} · {devices_words(prediction)}"


def bound_words(prediction: Prediction) -> str:
    """What binds the time, in words; several for a sweep."""
    bound = prediction.bound
    if isinstance(bound, str):
        return bound_label(clean(bound, 60))
    names = sorted({clean(b, 60) for b in bound.ravel()}) if hasattr(bound, "ravel") else [clean(bound, 60)]
    return " or ".join(bound_label(n) for n in names[:4])


def peak_words(prediction: Prediction) -> str:
    """The peak MFU is measured against."""
    peak = prediction.peak_used
    if peak is None:
        return "no matrix work"
    rated = ranged(peak.flops, lambda v: format_si(v, "FLOP/s"))
    return f"{rated}: {clean(peak.format, 20)}, {clean(peak.accumulate, 20)} accumulate, dense"


def adjective(bound: str) -> str:
    """``hbm`` → ``memory-bound``."""
    return _ADJECTIVES.get(bound) or f"{bound.partition(':')[2] or bound}-bound"


def crossover_sentence(crossover: Crossover, prediction: Prediction) -> str:
    """``linear layers turn matmul-bound from 296 tokens in a step (now 1, memory-bound)``."""
    at = number(crossover.at)
    where = whole_number(math.ceil(at - 1e-9)) if at is not None else UNKNOWN
    of = clean(crossover.of, 60)
    verb = "turn" if of.endswith("s") else "turns"
    size = _PLURALS.get(crossover.along, clean(crossover.along, 40) + " {}").format(where)
    subject = of if of.endswith("s") else f"the {of}"
    sentence = f"{subject} {verb} {adjective(clean(crossover.after, 60))} from {size}"
    now = _now(crossover.along, prediction)
    if now is None or at is None:
        return f"{sentence}; below that {adjective(clean(crossover.before, 60))}"
    past = f"now {whole_number(now)}, past it" if now >= at else f"now {whole_number(now)}"
    return f"{sentence}, {adjective(clean(crossover.before, 60))} below ({past})"


def _now(along: str, prediction: Prediction) -> float | None:
    workload = prediction.scenario.program.workload
    if workload.groups:
        return None
    decode = prediction.phase in ("decode", "generate")
    batch, isl = number(workload.batch), number(workload.isl)
    if along == "tokens":
        return batch if decode else (batch * isl if batch is not None and isl is not None else None)
    if along == "context":
        return number(workload.context) if prediction.phase == "decode" else isl
    return {"batch": batch, "isl": isl}.get(along)


def sensitivity_words(change: Sensitivity) -> tuple[str, str]:
    """What is changed and what it brings: ``("10 % more memory bandwidth", "8.5 % faster")``."""
    text, parameter = clean(change.change, 40), clean(change.parameter, 80)
    if text[:1] == "+":
        what = f"{text[1:].strip()} more {parameter}"
    elif text[:1] in ("-", "−"):
        what = f"{text[1:].strip()} less {parameter}"
    else:
        what = f"{parameter} {text}"
    gain = number(change.gain)
    if gain is None:
        return what, UNKNOWN
    return what, f"{format_percent(abs(gain))} {'faster' if gain >= 0 else 'slower'}"


def assumption_value(assumption: Assumption) -> str:
    """An assumption's value in the unit its name tells: ``tiers.l2.bandwidth`` in TB/s, ``launch_latency_s`` in µs."""
    what, value = str(assumption.what), assumption.value
    if isinstance(value, bool) or (number(value) is None and not hasattr(value, "shape")):
        return clean(value)
    if what.endswith("bandwidth"):
        return ranged(value, lambda v: format_si(v, "B/s"))
    if what.endswith("_bytes"):
        return ranged(value, format_bytes)
    if what.endswith("_s"):
        return ranged(value, format_time)
    if ".peaks." in what:
        return ranged(value, lambda v: format_si(v, "FLOP/s"))
    return ranged(value, lambda v: f"{v:,.0f}" if v is not None and v == int(v) and abs(v) < 1e15 else f"{v:.6g}")


def coverage_words(prediction: Prediction) -> str:
    """What share of the work is understood, and what is not; empty when all is."""
    coverage = prediction.coverage
    flops, moved = number(coverage.flops), number(coverage.bytes)
    if not coverage.unknown and flops in (1.0, None) and moved in (1.0, None):
        return ""
    names = ", ".join(clean(n, 60) for n in coverage.unknown[:12])
    more = f" and {len(coverage.unknown) - 12} more" if len(coverage.unknown) > 12 else ""
    shares = f"{format_percent(flops)} of FLOPs and {format_percent(moved)} of bytes are attributed"
    return f"{shares}; unknown ops: {names}{more}" if names else shares
