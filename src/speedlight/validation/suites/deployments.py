"""deployments: mean time to first token and per output token of measured serving points of vLLM, SGLang and TensorRT-LLM.

A closed loop of clients against one engine (aggregated), or against prefill and decode workers. What is fitted is how engines
differ from the sum of their kernels (:mod:`speedlight.engine.serving.serving_fit`); what rows leave open is inferred and said in
``status``. Rows of prefill and decode workers whose counts are not recorded get an interval over hypotheses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...costs.calibration.samples import as_floats
from ...engine.serving.serving_fit import Bends, shipped_bends
from ...evidence.tables import Table
from ..deployments.answers import Said, ends_of, factors, kind_of, points, said_of
from ..deployments.columns import METRICS
from ..deployments.fitting import ends, folds_of, out_of_fold
from ..deployments.rows import Deployment, deployments
from ..suite import SUITES, Columns, Leave, Outcome, Predicted, Progress, Suite

NAME = "deployments"
COLUMNS = ("measured_ttft", "measured_tpot")
GROUP = (
    "model_path", "system", "backend", "precision", "isl", "osl", "tp_size", "attention_dp_size", "moe_tp_size",
    "moe_ep_size", "prefill_tp_size", "decode_tp_size", "prefill_moe_ep_size", "decode_moe_ep_size",
)  # fmt: skip

# Sorts of rows, judged apart: of the last only the interval is an answer (its middle is no prediction).
PARTS = {"agg": "one engine", "disagg": "split, workers counted", "open": "split, workers unknown"}


def predict(inputs: Columns, rows: int) -> Predicted:
    """Every row by the fit that ships."""
    said = said_of(deployments(inputs, rows))
    bends = shipped_bends()
    point, least, most = points(said, said.design.vector(bends.values))
    return outcomes(said, point * factors(said.kinds, bends.centres), least, most, bends)


def outcomes(said: Said, point: np.ndarray, least: np.ndarray, most: np.ndarray, bends: Bends) -> Predicted:
    """Predictions of both columns with intervals: over hypotheses, then by the errors of rows not fitted."""
    rows = len(said.questions)
    status = np.array([q.status for q in said.questions], dtype=object)
    found = np.isfinite(point).all(1)
    status[~found & (said.kinds != "")] = "infeasible"
    made = {}
    for k, (column, metric) in enumerate(zip(COLUMNS, METRICS, strict=True)):
        limit = np.where(found, said.features[0].least[:, k], np.nan)
        best = np.maximum(point[:, k], limit)
        reach = np.array([ends_of(kind, metric, bends) for kind in said.kinds])
        low = np.clip(least[:, k] * np.exp(reach[:, 0]), limit, best)
        high = np.maximum(most[:, k] * np.exp(reach[:, 1]), best)
        made[column] = Outcome(*(np.where(found, v, np.nan) for v in (best, limit, low, high)))
    layer = np.full(rows, None, dtype=object)
    layer[found] = "calibrated"
    names = tuple(dict.fromkeys(_class(q) for q in said.questions))
    kind = np.array([names.index(_class(q)) if ok else -1 for q, ok in zip(said.questions, found, strict=True)])
    header: dict[str, Any] = {"id": "serving", "date": "", "tables": [], "cross_validation": {}, **bends.header}
    fits = {c: {**header, "cross_validation": header["cross_validation"].get(c, ())} for c in COLUMNS}
    sorts = list(PARTS)
    part = np.array([sorts.index(k) if k in PARTS else -1 for k in said.kinds], dtype=np.int64)
    return Predicted(made, layer, status, fits, names, kind if rows else None, parts=tuple(PARTS.values()), part=part)


def _class(question: Deployment) -> str:
    return f"{question.machine}|{question.engine}|{kind_of(question)}"


def cross(table: Table, leave: Leave, progress: Progress) -> Predicted:
    """Every row by bends fitted without its group, or without its device."""
    inputs = SUITE.inputs(table)
    said = said_of(deployments(inputs, table.rows))
    measured = np.stack([as_floats(table.columns[c]) for c in COLUMNS], 1)
    fold = folds(inputs, table.rows, leave.by)
    progress(f"{NAME}: {len(set(fold.tolist()))} fits")
    apart = out_of_fold(said, measured, fold)
    return outcomes(said, *apart, Bends({}, {}, ends(said, measured, apart)))


def folds(inputs: Columns, rows: int, by: str) -> np.ndarray:
    """The number of what each row is left out with: one of five folds of configurations, or its system."""
    if by == "device":
        return np.unique([str(v) for v in inputs["system"]], return_inverse=True)[1]
    return folds_of(group_keys(inputs, rows), 5)


def group_keys(inputs: Columns, rows: int) -> list[str]:
    """The configuration a row belongs to, with all its concurrencies and dates."""
    return ["|".join(str(inputs[c][i]) for c in GROUP if c in inputs) for i in range(rows)]


SUITE = Suite(
    name=NAME, measured=COLUMNS, required=("model_path", "system", "backend", "isl", "osl"), group=GROUP,
    slices=("system", "backend", "model_path", "precision", "mode"), predict=predict, predicted=COLUMNS, cross=cross,
)  # fmt: skip
SUITES.register(NAME)(SUITE)
