"""A module's measured step beside its prediction: the whole, each module, where they part."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ...hardware.catalogue import load_machine
from ...measurement.bench.accelerator import default_device
from ...measurement.bench.context import busy, circumstances, moment
from ...measurement.modules.run import Measured, run
from ...measurement.modules.subject import Recipe, made, recipe
from ...scenario.scenario import Scenario
from ..answers.prediction import Prediction
from ..predict import predict


def measure_model(scenario: Scenario, seconds: float = 2.0, device: str | None = None) -> dict[str, Any]:
    """Run a scenario's module here, and set its time and memory beside the prediction.

    Args:
        scenario: one program of a module that can be run: a factory or one of timm's names, ``forward`` or ``train``, on a
            machine at hand (``here``, or a machine file that ``measure`` wrote).
        seconds: to time it for, at most.
        device: PyTorch's name of where it runs; by default what the machine computes with.

    Returns:
        ``measured``, ``predicted`` and ``limit`` of the step, its ``memory``, ``pages`` that a step gets anew from the system with the seconds that takes, and ``layers``: by module path and pass, seconds of
        its operators beside those predicted. Their gap to the step is the ``host``'s.

    Raises:
        BadInput: for a source that cannot be run.
    """
    program = scenario.program
    ref, workload = program.model, program.workload
    before = moment()
    it = made(recipe_of(scenario, device))
    measured = run(it, seconds)
    answer = predict(scenario)
    warning = busy(before, moment(), measured.time.median * len(measured.time.samples))
    return {
        "model": ref.source, "machine": answer.machine["id"], "stack": answer.stack, "phase": workload.phase,
        "context": circumstances(it.device), "measured": _time(measured), "predicted": _predicted(answer),
        "ratio": float(answer.time) / measured.time.median, "memory": _memory(measured, answer),
        "host": {"measured": measured.host, "predicted": sum(float(r.time) for r in answer.ops if r.kind == "gap")},
        "pages": {"count": measured.pages, "system": measured.system}, "layers": layers(measured, answer), "warnings": [warning] if warning else [],
        "assumptions": [a.to_dict() for a in answer.assumptions],
    }  # fmt: skip


def recipe_of(scenario: Scenario, device: str | None = None) -> Recipe:
    """How a scenario's module is run here: on the processor where the scenario's machine is one, else on the accelerator that
    PyTorch sees.

    Raises:
        BadInput: for a source that cannot be run.
        MissingDependency: without PyTorch.
    """
    if device is None:
        device = "cpu" if load_machine(scenario.machine).kind == "cpu" else default_device()
    ref, workload = scenario.program.model, scenario.program.workload
    return recipe(
        ref.source, ref.inputs, train=workload.phase == "train", dtype=ref.dtype, last=ref.layout == "channels_last",
        autocast=ref.autocast, optimizer=workload.training.optimizer, device=device,
    )  # fmt: skip


def _time(measured: Measured) -> dict[str, Any]:
    t = measured.time
    return {"time": t.median, "low": t.low, "high": t.high, "runs": len(t.samples), "traced": measured.traced}


def _predicted(answer: Prediction) -> dict[str, Any]:
    return {
        "time": float(answer.time),
        "low": float(answer.low),
        "high": float(answer.high),
        "limit": float(answer.limit),
        "bound": str(answer.bound),
    }


def _memory(measured: Measured, answer: Prediction) -> dict[str, Any]:
    """Peaks in bytes, without what the framework reserves: the host's allocator reserves nothing."""
    held = {k: float(v) for k, v in answer.memory.by_class.items() if k != "reserve"}
    total = sum(held.values())
    return {
        "measured": measured.peak,
        "kept": measured.kept,
        "predicted": total,
        "by_class": held,
        "ratio": total / measured.peak if measured.peak else None,
    }


def layers(measured: Measured, answer: Prediction) -> list[dict[str, Any]]:
    """Modules by measured time: operators' seconds, those predicted, and their limit; modules that only one side has too.

    Measured seconds are those under the profiler, at the scale of the step without it; a device's kernels take as long with it.
    """
    scale = min(measured.time.median / measured.traced, 1.0) if measured.traced and not measured.kernels else 1.0
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def row(path: str, phase: str) -> dict[str, Any]:
        return found.setdefault(
            (path, phase),
            {"path": path, "phase": phase, "measured": 0.0, "predicted": 0.0, "limit": 0.0, "ops": [], "bound": ""},
        )

    known = _places({op.path for op in answer.ops if op.kind != "gap"})
    for each in measured.spent:
        entry = row("optimizer" if each.phase == "optimizer" else known(each.path), each.phase)
        entry["measured"] += each.busy * scale
        entry["ops"].append(each.name)
    largest: dict[tuple[str, str], float] = {}
    for op in answer.ops:
        if op.kind == "gap":
            continue
        entry = row(op.path, op.phase or "forward")
        entry["predicted"] += float(op.time)
        entry["limit"] += float(op.limit)
        if float(op.time) > largest.get((op.path, op.phase), 0.0):
            largest[op.path, op.phase] = float(op.time)
            entry["bound"] = op.bound
    rows = sorted(found.values(), key=lambda r: -max(r["measured"], r["predicted"]))
    return [{**r, "ops": _names(r["ops"])} for r in rows]


def _places(paths: Collection[str]) -> Callable[[str], str]:
    """A measured module's path → the predicted one: equal blocks of a model are predicted once, as ``layers.*``."""
    folded = [(re.compile(re.escape(p).replace(r"\*", r"\d+")), p) for p in sorted(paths) if "*" in p]

    def place(path: str) -> str:
        return path if path in paths else next((p for pattern, p in folded if pattern.fullmatch(path)), path)

    return place


def _names(ops: Sequence[str]) -> list[str]:
    return [name.removeprefix("aten::") for name in dict.fromkeys(ops)][:4]
