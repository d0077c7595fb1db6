"""vision_throughput: whole image models by name, priced by the engine as a user would ask for them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..._foundation.collecting import seldom
from ..._foundation.errors import BadInput, SpeedlightError, UnknownName
from ...costs.calibration.samples import as_floats
from ...costs.calibration.store import shipped
from ...costs.families.module_kernels import NAME
from ...costs.refit.parallel import side_by_side
from ...engine.predict import predict
from ...engine.questions.alike import likeness
from ...evidence.tables import Table
from ..image_models.questions import Question, questions, whole
from ..suite import SUITES, Columns, Leave, Outcome, Predicted, Progress, Suite

MEASURED = ("latency", "samples_per_s", "gmacs", "mega_activations", "params_millions")
REQUIRED = ("model", "image_size", "mode", "precision", "layout", "compiled", "torch", "device", "batch_size")
COLUMNS = ("seconds", "limit", "low", "high")
FEW, PARTS = 200, 16  # questions that are not worth a process; parts that processes take one after another
Asked = tuple[Question, np.ndarray]
Answer = tuple[np.ndarray, dict[str, Any] | str]
KEEP = "SPEEDLIGHT_KERNELS"  # folder of kernels looked at, so that a full pass can be resumed


def predicted(columns: Columns, rows: int) -> Predicted:
    """Every row by the shipped fit."""
    found = {name: np.full(rows, np.nan) for name in COLUMNS}
    status = np.full(rows, "ok", dtype=object)
    layer = np.full(rows, None, dtype=object)
    batch = as_floats(columns["batch_size"])
    for name in ("image_size", "batch_size"):
        status[~whole(as_floats(columns[name])) & (status == "ok")] = f"invalid:{name}"
    for part in side_by_side(partial(_answers, batch), _parts(list(questions(columns, rows)))):
        for own, said in part:
            if isinstance(said, str):
                status[own] = said
                continue
            for name in COLUMNS:
                found[name][own] = said[name]
            layer[own] = said["layer"]
    fit = shipped(NAME)
    fits = {} if fit is None else {"latency": fit.header, "samples_per_s": fit.header}
    return _assembled(columns, rows, found, layer, status, fits)


def _parts(asked: list[Asked]) -> list[list[Asked]]:
    """Questions in parts of about equal work that share no model, so that what is worked out of one is used."""
    if len(asked) < FEW:
        return [asked]
    parts: list[list[Asked]] = [[]]
    for each in asked:
        if len(parts[-1]) >= len(asked) / PARTS and parts[-1][-1][0].model != each[0].model:
            parts.append([])
        parts[-1].append(each)
    return parts


def _answers(batch: np.ndarray, asked: list[Asked]) -> list[Answer]:
    """What the engine says of some questions, or why it says nothing."""
    by_model = itertools.groupby(asked, lambda each: each[0].model)
    with seldom():
        return [answer for _, some in by_model for answer in _of_model(batch, some)]


def _of_model(batch: np.ndarray, asked: Iterable[Asked]) -> Iterator[Answer]:
    together: dict[Hashable, tuple[Question, list[np.ndarray]]] = {}
    for question, own in asked:
        try:
            key = likeness(question.scenario(batch[own[:1]].astype(float)))
        except UnknownName as error:
            yield own, "unknown-device" if error.what in ("device", "machine") else "unknown-model"
        except SpeedlightError as error:
            yield own, f"unsupported:{str(error).splitlines()[0][:80]}"
        else:
            together.setdefault(key, (question, []))[1].append(own)
    for question, many in together.values():
        own = np.concatenate(many)
        try:
            yield own, _answer(question, batch[own].astype(float))
        except SpeedlightError as error:
            yield own, f"unsupported:{str(error).splitlines()[0][:80]}"


def _answer(question: Question, batch: np.ndarray) -> dict[str, Any]:
    said = predict(question.scenario(batch if batch.size > 1 else float(batch[0])), details=False)
    return {"seconds": said.time, "limit": said.limit, "low": said.low, "high": said.high, "layer": said.layer}


def cross(table: Table, leave: Leave, progress: Progress) -> Predicted:
    """Every row by a fit that did not see its defining module, or its device."""
    from ...hardware.catalogue import load_machine
    from ..image_models.cross import out_of_fold

    if "latency" not in table:
        raise BadInput(f"{table.path} has no measured column", expected="latency, which cross-validation fits to")
    keep = os.environ.get(KEEP)
    devices = tuple(load_machine(name, table=True).id for name in leave.devices)
    inputs = {n: c for n, c in table.columns.items() if n not in MEASURED}
    said, status = out_of_fold(table, Leave(leave.by, devices), Path(keep) if keep else None, progress)
    limits = predicted(inputs, table.rows).outcomes["latency"].limit
    found = {**said, "limit": limits, "low": np.maximum(said["low"], limits)}
    found["seconds"] = np.maximum(found["seconds"], limits)
    layer = np.full(table.rows, None, dtype=object)
    layer[np.isfinite(said["seconds"])] = "calibrated"
    what = "each fifth of the defining modules" if leave.by == "group" else "each device"
    header = {"id": f"{NAME}, refitted on this table without {what}", "date": "", "tables": [], "cross_validation": []}
    return _assembled(inputs, table.rows, found, layer, status, {"latency": header, "samples_per_s": header})


def _assembled(
    columns: Columns, rows: int, found: dict[str, np.ndarray], layer: np.ndarray, status: np.ndarray, fits: Mapping[str, Mapping[str, Any]]
) -> Predicted:  # fmt: skip
    batch = as_floats(columns["batch_size"])
    seconds, limit, low, high = (found[name] for name in COLUMNS)
    with np.errstate(all="ignore"):
        rates = Outcome(batch / seconds, batch / limit, batch / high, batch / low)
    kinds = np.array(
        [f"{d}|{p}|{m}" for d, p, m in zip(*(columns[n] for n in ("device", "precision", "mode")), strict=True)], dtype=object
    )  # fmt: skip
    names, code = np.unique(kinds.astype(str), return_inverse=True) if rows else (np.zeros(0, str), np.zeros(0, int))
    return Predicted(
        {"latency": Outcome(seconds, limit, low, high), "samples_per_s": rates}, layer, status, fits,
        tuple(names.tolist()), code,
    )  # fmt: skip


SUITES.register("vision_throughput")(
    Suite(
        name="vision_throughput",
        measured=MEASURED,
        required=REQUIRED,
        group=("model",),
        slices=("device", "precision", "layout", "compiled", "mode"),
        predict=predicted,
        rate=("samples_per_s",),
        predicted=("latency", "samples_per_s"),
        cross=cross,
    )
)
