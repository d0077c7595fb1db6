"""The rows of a table as the fit sees them: targets, predictions by the fit in force, shares of kernel classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..._foundation.errors import SpeedlightError
from ...costs.training import NAME, RELEASE, TrainingFit, current, instead
from ...evidence.tables import Table
from ...hardware.catalogue import load_machine
from ...stacks.stack import load_stack
from .alike import enumerate_alike
from .figures import seconds_of
from .fit import Step, experts_in, shares_of
from .rows import Row, row_of
from .rule import Told, told

FORMATS = {"amp": "fp16"}  # a row's precision → what its products multiply, where the two differ


@dataclass(frozen=True, slots=True)
class Observed:
    """A row that was measured and can be priced.

    Attributes:
        number: of the row in its table.
        row, told, step: the question, the answer under the rule, and what the fit needs of both.
        experts: the model has experts.
    """

    number: int
    row: Row
    told: Told
    step: Step
    experts: bool

    @property
    def source(self) -> str:
        return self.row.source.name

    @property
    def sort(self) -> str:
        """What its errors are kept apart by."""
        return f"{self.step.key['stack']}|{'experts' if self.experts else 'dense'}"


def observed(
    table: Table, fit: TrainingFit | None = None, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Observed]:
    """Every row with a target, priced with ``fit`` (the one in force by default); rows of one program one after the other."""
    fit = current() if fit is None else fit
    for number, cells in enumerate_alike(table.columns, table.rows):
        try:
            row = row_of(cells)
            target = seconds_of(cells, row)
            if not (np.isfinite(target) and target > 0):
                continue
            with instead(fit):
                found = told(row)
            said, shares = shares_of(row.scenario(found.recompute, found.micro_batch), fit)
        except SpeedlightError:
            continue
        progress(f"row {number} of {table.rows}")
        machine = load_machine(row.machine)
        library = load_stack(row.stack).library
        key = {
            "stack": library.get(NAME, ""), "release": library.get(RELEASE, ""), "architecture": machine.architecture,
            "device": machine.device_id, "format": FORMATS.get(row.precision, row.precision),
        }  # fmt: skip
        slack = float(np.log(found.least / found.seconds)), float(np.log(found.most / found.seconds))
        step = Step(
            float(np.log(target)),
            said,
            shares,
            key,
            f"{cells['model']}|{cells['gpu']}",
            slack,
            float(np.log(found.limit)),
        )
        yield Observed(number, row, found, step, experts_in(row.model))
