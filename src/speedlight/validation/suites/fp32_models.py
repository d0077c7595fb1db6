"""torch_fp32_models: whole transformers in float32 eager PyTorch, one forward pass or one training iteration.

What the rows say of how they were measured (studies/torch_fp32_models.md): an iteration is a forward and a backward pass
without an optimizer's update; inference of an encoder runs without the head over its vocabulary, training with it.

Nothing is fitted to these rows: they rest on the fit of single kernels. Leaving a device out is refitting that one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._foundation.errors import BadFile, BadInput, SpeedlightError, UnknownName, Unsupported
from ...costs.calibration.samples import as_floats
from ...costs.calibration.store import shipped
from ...engine.steps.passes import Passes, Spell, passes
from ...evidence.tables import Table
from ...frontends.source import load_graph
from ...hardware.catalogue import load_machine
from ...scenario.scenario import ModelRef, Parallel, Program, Rewrite, Scenario
from ...workload.workload import Training, Workload
from ..cells import records
from ..suite import SUITES, Columns, Leave, Outcome, Predicted, Progress, Suite

NAME = "torch_fp32_models"
TABLE = "torch_fp32_ops"  # the kernels these models are made of
COLUMNS = ("measured_latency", "measured_forward")
NOT_LEFT_OUT = "out-of-scope:not left out"
SIZES = ("seq_len", "batch")
EAGER, COMPILED = "transformers@4.35", "transformers-compiled@4.35"
LAYOUT = re.compile(r"(dp|tp)([1-9]\d*)|pp([1-9]\d*)_([1-9]\d*)")


def predict(inputs: Columns, rows: int) -> Predicted:
    """Every row by the fits that ship."""
    return predicted(inputs, np.ones(rows, dtype=bool))


def predicted(inputs: Columns, chosen: np.ndarray, without: str = "") -> Predicted:
    """The chosen rows; others are out of scope. ``without``: see :func:`speedlight.engine.steps.passes.passes`."""
    rows = chosen.size
    numbers = {f"{c}|{what}": np.full(rows, np.nan) for c in COLUMNS for what in ("time", "limit", "low", "high")}
    status = np.full(rows, NOT_LEFT_OUT, dtype=object)
    layer = np.full(rows, None, dtype=object)
    kinds: dict[str, int] = {}
    kind = np.full(rows, -1, dtype=np.int64)
    for i, row in enumerate(records(inputs, rows)):
        if not chosen[i]:
            continue
        status[i], found = answered(row, without)
        if found is None:
            continue
        layer[i] = found.layer
        kind[i] = kinds.setdefault(
            f"{load_machine(str(row['device']), table=True).device_id}|{row['mode']}|fp32", len(kinds)
        )
        for column, spell in zip(COLUMNS, (found.step, found.forward), strict=True):
            fill(numbers, column, i, spell)
    outcomes = {
        c: Outcome(*(numbers[f"{c}|{what}"] for what in ("time", "limit", "low", "high"))) for c in COLUMNS
    }  # fmt: skip
    fit = shipped(TABLE)
    header = dict.fromkeys(COLUMNS, fit.header) if fit is not None else {}
    return Predicted(outcomes, layer, status, header, tuple(kinds), kind)


def fill(numbers: Mapping[str, np.ndarray], column: str, row: int, spell: Spell) -> None:
    for what in ("time", "limit", "low", "high"):
        numbers[f"{column}|{what}"][row] = getattr(spell, what)


def answered(row: Mapping[str, Any], without: str = "") -> tuple[str, Passes | None]:
    """(status, prediction) of one row; no input makes it fail."""
    for name in SIZES:
        value = as_floats(np.array([row.get(name)], dtype=object))[0]
        if not (1 <= value < 2**31 and value == np.floor(value)):
            return f"invalid:{name}", None
    mode = str(row.get("mode", ""))
    if mode not in ("inf", "train"):
        return "invalid:mode", None
    try:
        machine = load_machine(str(row.get("device", "")), table=True)
    except SpeedlightError:
        return "unknown-device", None
    try:
        load_graph(str(row.get("model", "")), (), "fp32")
    except (UnknownName, BadFile):
        return "unknown-model", None
    except SpeedlightError as error:
        return f"unsupported:{brief(error)}", None
    try:
        asked = scenario_of(
            str(row["model"]), int(row["seq_len"]), int(row["batch"]), machine.id, mode, str(row.get("option", ""))
        )
        return "ok", passes(asked, without)
    except BadInput as error:
        return f"infeasible:{brief(error)}", None
    except SpeedlightError as error:
        return f"unsupported:{brief(error)}", None


def brief(error: SpeedlightError) -> str:
    return str(error).splitlines()[0][:80]


def scenario_of(model: str, seq_len: int, batch: int, machine: str, mode: str, option: str) -> Scenario:
    """A row as a question.

    Raises:
        Unsupported: for an option that is none of the table's.
    """
    parallel, micro, stack = Parallel(), None, EAGER
    match = LAYOUT.fullmatch(option)
    if option == "fusion":
        stack = COMPILED
    elif match and match[1]:
        parallel = Parallel(dp=int(match[2])) if match[1] == "dp" else Parallel(tp=int(match[2]))
    elif match:
        parallel, count = Parallel(pp=int(match[3])), int(match[4])
        micro = max(1, batch // count)
    elif option:
        raise Unsupported(f"option {option}", expected="fusion, dpN, tpN or ppN_M")
    causal = bool(load_graph(model, (), "fp32").attrs.get("causal"))
    rewrites = () if causal or mode == "train" else (Rewrite("bare"),)
    workload = Workload(
        "train" if mode == "train" else "forward", batch, seq_len,
        training=Training("none", micro_batch=micro, schedule="gpipe" if mode == "train" else "1f1b"),
    )  # fmt: skip
    program = Program(ModelRef(model, dtype="fp32", rewrites=rewrites), workload, parallel, stack)
    return Scenario((program,), machine)


def cross(table: Table, leave: Leave, progress: Progress) -> Predicted:
    """Rows by fits of kernels that saw none of their device's; nothing is fitted to models, so groups leave nothing out."""
    from ..fp32_cross import without_devices, without_models

    inputs = SUITE.inputs(table)
    if leave.by == "group":
        return without_models(table, inputs)
    return without_devices(table, inputs, leave.devices, progress)


SUITE = Suite(
    name=NAME, measured=COLUMNS, required=("model", "seq_len", "batch", "device", "mode"), group=("model",),
    slices=("device", "model", "mode", "option"), predict=predict, predicted=COLUMNS, cross=cross,
)  # fmt: skip
SUITES.register(NAME)(SUITE)
