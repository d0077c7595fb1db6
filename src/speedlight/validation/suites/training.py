"""training: published steps of language models, BERT and ResNet on one device to thousands.

Every row is one step in seconds; its other columns follow from those seconds as its source counts (:mod:`..training.sources`).
What a row leaves open follows :data:`..training.rule.RULE`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._foundation.errors import BadInput, SpeedlightError, UnknownName
from ...costs.training import current
from ...evidence.tables import Table
from ...hardware.catalogue import load_machine
from ..suite import SUITES, Columns, Leave, Outcome, Predicted, Progress, Suite
from ..training.alike import enumerate_alike
from ..training.figures import COLUMNS, figures
from ..training.rows import Row, row_of
from ..training.rule import Told, told
from .fp32_models import brief

NAME = "training"
MEASURED = (
    "iteration_time_s", "tflops_per_gpu", "hfu_tflops_per_gpu", "mfu", "hfu", "tokens_per_s_per_gpu", "samples_per_s",
    "memory_bytes_per_gpu",
)  # fmt: skip
TIMES = ("iteration_time_s", "memory_bytes_per_gpu")


def predicted(inputs: Columns, rows: int) -> Predicted:
    """Every row by the shipped fit."""
    numbers = {c: np.full((4, rows), np.nan) for c in COLUMNS}
    status = np.full(rows, "ok", dtype=object)
    layer = np.full(rows, None, dtype=object)
    kinds: dict[str, int] = {}
    kind = np.full(rows, -1, dtype=np.int64)
    for i, cells in enumerate_alike(inputs, rows):
        status[i], row, step = answered(cells)
        if row is None or step is None:
            continue
        layer[i] = step.layer
        kind[i] = kinds.setdefault(f"{row.device}|{row.source.name}|{row.precision}", len(kinds))
        for column, values in figures(cells, row, step).items():
            numbers[column][:, i] = values
    outcomes = {c: Outcome(*numbers[c]) for c in COLUMNS}
    header = current().header
    fits = dict.fromkeys(COLUMNS, header) if header["id"] else {}
    return Predicted(outcomes, layer, status, fits, tuple(kinds), kind)


def answered(cells: Mapping[str, Any]) -> tuple[str, Row | None, Told | None]:
    """(status, question, answer) of one row; no input makes it fail."""
    try:
        load_machine(str(cells.get("gpu", "")), table=True)
    except SpeedlightError:
        return "unknown-device", None, None
    try:
        row = row_of(cells)
    except UnknownName as error:
        return ("unknown-model" if error.what == "model" else f"unsupported:{brief(error)}"), None, None
    except BadInput as error:
        return f"invalid:{brief(error)}", None, None
    except SpeedlightError as error:
        return f"unsupported:{brief(error)}", None, None
    if re.search(r"paper formulas|ratio_to_baseline", str(cells.get("notes", ""))):
        return "out-of-scope:a formula's value, an exact test of the ledger", None, None
    try:
        step = told(row)
    except BadInput as error:
        return f"infeasible:{brief(error)}", None, None
    except SpeedlightError as error:
        return f"unsupported:{brief(error)}", None, None
    return ("inferred:" + ",".join(row.inferred) if row.inferred else "ok"), row, step


def cross(table: Table, leave: Leave, progress: Progress) -> Predicted:
    """Rows by fits that did not see their group, or their device."""
    from ..training.cross import cross as out_of_fold

    return out_of_fold(table, leave, progress, predicted(SUITE.inputs(table), table.rows))


SUITE = Suite(
    name=NAME, measured=MEASURED, required=("case_id", "model", "gpu", "n_gpus", "precision", "software", "task"),
    group=("model", "gpu"), slices=("gpu", "model", "software"), predict=predicted,
    rate=tuple(c for c in COLUMNS if c not in TIMES), predicted=COLUMNS, cross=cross,
)  # fmt: skip
SUITES.register(NAME)(SUITE)
