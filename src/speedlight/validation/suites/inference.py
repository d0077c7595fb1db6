"""inference: published speeds of language models (llama.cpp, TensorRT-LLM) and MLPerf's Offline results.

Other rows (serving under a service-level objective, interactive scenarios, other tasks) are out of scope.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from ..._foundation.errors import SpeedlightError
from ...costs.calibration.samples import as_floats
from ...evidence.tables import Table
from ...hardware.catalogue import load_machine
from ..published import llama_cpp, offline
from ..published.bending import Fitted, Levels, Part, seconds, solve
from ..suite import SUITES, Columns, Leave, Outcome, Predicted, Progress, Suite

NAME = "inference"
PREDICTED = (
    "prefill_tokens_per_s", "decode_tokens_per_s_per_seq", "throughput_output_tokens_per_s", "samples_per_s",
)  # fmt: skip
MEASURED = (
    *PREDICTED, "ttft_s", "ttft_p99_s", "tpot_s", "itl_median_s", "itl_p90_s", "itl_p99_s",
    "throughput_output_tokens_per_s_per_gpu", "latency_s", "power_w", "energy_per_token_j", "energy_per_request_j",
)  # fmt: skip
FEWEST = 8  # rows from which quantiles say something


def predict(inputs: Columns, rows: int) -> Predicted:
    """Every row by the fit that ships."""
    questions = [question({n: c[i] for n, c in inputs.items()}) for i in range(rows)]
    return answered(questions, [shipped()] * rows)


def question(row: Mapping[str, Any]) -> tuple[str, str, Part | None]:
    """(family of the fit, column it speaks of or the status, part) of a row."""
    case = str(row.get("case_id", ""))
    mlperf = case.startswith("mlperf") and "ffline" in str(row.get("scenario", ""))
    if not (case.startswith(("llamacpp-", "trtllm-")) or mlperf):
        return "", "out-of-scope:source", None
    task = str(row.get("model", ""))
    if mlperf and not task.startswith((*offline.TASKS, *offline.WHOLE)):
        return "", "out-of-scope:task", None
    try:
        machine = load_machine(str(row.get("gpu", "")), table=True).id
    except SpeedlightError:
        return "", "unknown-device", None
    try:
        if case.startswith("llamacpp-"):
            return "llama.cpp", *llama_cpp.part_of(row, machine)
        column, part = (offline.mlperf if mlperf else offline.published)(row, machine)
    except SpeedlightError as error:
        return "", f"unsupported:{str(error).splitlines()[0][:60]}", None
    return "offline", column if part is not None or ":" in column else "unsupported:model on this device", part


def answered(questions: Sequence[tuple[str, str, Part | None]], fits: Sequence[Fitted]) -> Predicted:
    """Rates, each row by its own fit."""
    rows = len(questions)
    numbers = {column: np.full((4, rows), np.nan) for column in PREDICTED}
    status = np.full(rows, "", dtype=object)
    layer = np.full(rows, None, dtype=object)
    names: dict[str, int] = {}
    kind = np.full(rows, -1)
    for i, ((family, column, part), fit) in enumerate(zip(questions, fits, strict=True)):
        status[i] = "ok" if part is not None else column
        if part is None:
            continue
        amount = part_seconds(family, part)
        time = seconds(part, LEVELS[family], fit.values)
        low, high = fit.ends.get(part.labels["task"], (-0.5, 0.5))
        best = amount / part.limit if part.limit > 0 else np.inf
        rate = amount / time
        numbers[column][:, i] = (
            rate, best, rate * np.exp(-max(high, 0.0)), min(max(rate * np.exp(-min(low, 0.0)), rate), best)
        )  # fmt: skip
        layer[i] = "calibrated"
        kind[i] = names.setdefault(f"{part.labels['architecture']}|{family}|{part.labels['task']}", len(names))
    outcomes = {c: Outcome(*v) for c, v in numbers.items()}
    header: dict[str, Any] = {
        "id": "inference",
        "date": "",
        "tables": [],
        "cross_validation": {},
        **(fits[0].header if rows else {}),
    }
    by_column = {c: {**header, "cross_validation": header["cross_validation"].get(c, ())} for c in PREDICTED}
    return Predicted(outcomes, layer, status, by_column, tuple(names), kind)


LEVELS: Mapping[str, Levels] = {"llama.cpp": llama_cpp.LEVELS, "offline": offline.LEVELS}


def part_seconds(family: str, part: Part) -> float:
    """What the part's seconds are for: tokens of a whole prompt, else one."""
    return float(part.labels.get("amount", 1.0)) if family == "llama.cpp" else 1.0


@lru_cache(maxsize=1)
def shipped() -> Fitted:
    path = files("speedlight.validation.published") / "fits" / "inference.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    return Fitted(data["values"], {k: (v[0], v[1]) for k, v in data["ends"].items()}, data["header"])


def fitted(
    questions: Sequence[tuple[str, str, Part | None]], measured: Mapping[str, np.ndarray], rows: np.ndarray
) -> Fitted:  # fmt: skip
    """Values by the rows chosen, both families."""
    values: dict[str, float] = {}
    for family, levels in LEVELS.items():
        chosen = [
            (part, part_seconds(family, part) / measured[column][i])
            for i, (own, column, part) in enumerate(questions)
            if rows[i] and own == family and part is not None and measured[column][i] > 0
        ]
        if chosen:
            values |= solve([p for p, _ in chosen], np.array([t for _, t in chosen]), levels)
    return Fitted(values)


def cross(table: Table, leave: Leave, progress: Progress) -> Predicted:
    """Every row by a fit without its group, or without its device; intervals by the errors of all rows left out."""
    inputs = SUITE.inputs(table)
    questions = [question({n: c[i] for n, c in inputs.items()}) for i in range(table.rows)]
    measured = {c: as_floats(table.columns[c]) for c in PREDICTED if c in table}
    labels = group_labels(inputs, table.rows, leave.by)
    progress(f"{NAME}: {len(set(labels))} fits")
    by_label = left_out(questions, measured, labels)
    ends = ends_of(questions, measured, [by_label[label] for label in labels])
    return answered(questions, [Fitted(by_label[label].values, ends) for label in labels])


def group_labels(inputs: Columns, rows: int, by: str) -> list[str]:
    """What is left out together: source, model and device; or the device."""
    cells = [[str(inputs[c][i]) for c in ("case_id", "model", "gpu")] for i in range(rows)]
    return [c[2] if by == "device" else "|".join((c[0].split("-")[0], c[1], c[2])) for c in cells]


def left_out(
    questions: Sequence[tuple[str, str, Part | None]], measured: Mapping[str, np.ndarray], labels: Sequence[str]
) -> dict[str, Fitted]:  # fmt: skip
    """A fit for each label, without its rows."""
    own = np.array(labels)
    used = {label for label, (_, _, part) in zip(labels, questions, strict=True) if part is not None}
    empty = Fitted()
    return {v: fitted(questions, measured, own != v) if v in used else empty for v in dict.fromkeys(labels)}


def ends_of(
    questions: Sequence[tuple[str, str, Part | None]], measured: Mapping[str, np.ndarray], fits: Sequence[Fitted]
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Logs of the 10 % and 90 % quantiles of measured over predicted time, by task."""
    errors: dict[str, list[float]] = {}
    for i, ((family, column, part), fit) in enumerate(zip(questions, fits, strict=True)):
        if part is not None and measured[column][i] > 0:
            said = seconds(part, LEVELS[family], fit.values)
            errors.setdefault(part.labels["task"], []).append(
                float(np.log(part_seconds(family, part) / measured[column][i] / said))
            )
    return {t: (float(np.quantile(e, 0.1)), float(np.quantile(e, 0.9))) for t, e in errors.items() if len(e) >= FEWEST}


SUITE = Suite(
    name=NAME, measured=MEASURED, required=("case_id", "model", "gpu"), group=("case_id", "model", "gpu"),
    slices=("model", "gpu", "software"), predict=predict, rate=PREDICTED, predicted=PREDICTED, cross=cross,
)  # fmt: skip
SUITES.register(NAME)(SUITE)
