"""``--cv``: rows predicted by fits of the shipped procedure that did not see their group, or their device.

Needs the extra ``fit`` (SciPy and scikit-learn); nothing else of Speedlight does.
"""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from .._foundation.errors import BadInput, MissingDependency, SpeedlightError
from ..costs.calibration.model import Fit
from ..costs.calibration.samples import Samples, TableRules, as_floats, assemble
from ..evidence.tables import Table, group_codes
from ..hardware.catalogue import load_machine
from .suite import Kernels, Leave, Predicted, Progress
from .suites import tables

if TYPE_CHECKING:
    from ..costs.refit.crossval import LeftOut


def cross_validated(rules: TableRules, table: Table, leave: Leave, progress: Progress) -> Predicted:
    """Refit without each fold, or each device, and predict what was left out; rows that were not are out of scope.

    Raises:
        MissingDependency: without the extra ``fit``.
        BadInput: if nothing was measured, or nothing would be left to fit to.
    """
    try:
        from ..costs.refit.crossval import leave_devices_out, leave_groups_out, out_of_fold
        from ..costs.refit.train import training
    except ImportError as error:
        raise MissingDependency(error.name or "scipy", "fit", "cross-validation") from None
    inputs = tables.usable(rules, {n: c for n, c in table.columns.items() if n not in rules.measured})
    group = group_codes(inputs, rules.group, table.rows)
    kinds = tables.Kinds(table.rows)
    said, fits, kernels = [], {}, None
    with np.errstate(all="ignore"):
        for target in rules.targets:
            if target.column not in table:
                continue
            samples = assemble(rules, target, inputs, table.rows)
            measured = as_floats(table.columns[target.column]) * target.unit
            seen = training(samples, measured, group)
            if leave.by == "group":
                check_groups(rules, seen.group)
                left = leave_groups_out(target, seen, progress)
            else:
                chosen_devices = devices(leave, seen.of("device").tolist())
                left = named(leave_devices_out(target, seen, (), progress), chosen_devices)
            forecast = out_of_fold(target, samples, seen, left, leave.by)
            answered = seen.rows[[label in left.parts for label in left.label.tolist()]]
            said.append(tables.Said(target, forecast, scope(samples, measured, answered), None))
            kinds.add(samples)
            fits[target.column] = header(rules, target.family.name, leave)
            if len(said) == 1 and target.family.kernels:
                chosen = tables.blank_kernels(table.rows)
                for value, parts in left.parts.items():
                    some = only(samples, seen.rows[left.label == value])
                    tables.choose(chosen, target, some, Fit(target.family.name, {}, target.family.partition, parts))
                if any(chosen[0]):
                    kernels = Kernels(*chosen, tables.single_kernel(rules, inputs, table.rows))
    if not said:
        wanted = " or ".join(t.column for t in rules.targets)
        raise BadInput(f"{table.path} has no measured column", expected=f"{wanted}, which cross-validation fits to")
    rates = {column: rule for column, rule in rules.rates.items() if rule[0] in fits}
    return tables.assembled(
        dataclasses.replace(rules, rates=rates), inputs, table.rows, said, fits, kinds, kernels
    )  # fmt: skip


def check_groups(rules: TableRules, group: np.ndarray) -> None:
    if np.unique(group).size < 2:
        raise BadInput(
            "nothing would be left to fit to: measured rows of fewer than two groups",
            expected=f"at least two groups of {', '.join(rules.group)}",
        )


def named(left: LeftOut, some: list[str]) -> LeftOut:
    """Only the fits without some devices. All are left out in turn all the same: an interval for one rests on the errors of
    the others."""
    return dataclasses.replace(left, parts={v: p for v, p in left.parts.items() if not some or v in some})


def devices(leave: Leave, present: list[str]) -> list[str]:
    """Devices of the table by any name they go by."""
    known = sorted(set(present))
    if len(known) < 2:
        raise BadInput(
            f"nothing would be left to fit to: measured rows of {len(known)} known device(s)",
            expected="at least two devices",
        )
    found = []
    for name in leave.devices:
        own = name
        if own not in known:
            with contextlib.suppress(SpeedlightError):
                own = load_machine(name, table=True).device_id
        if own not in known:
            raise BadInput(f"--leave {name}: no measured row is of that device", expected="one of " + ", ".join(known))
        found.append(own)
    return found


def scope(samples: Samples, measured: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Status of every row: what was not left out is out of scope."""
    status = samples.status.copy()
    out = status == "ok"
    out[answered] = False
    without = ~(np.isfinite(measured) & (measured > 0))
    status[out & without] = "out-of-scope:not measured"
    status[out & ~without] = "out-of-scope:not left out"
    return np.asarray(status)


def only(samples: Samples, rows: np.ndarray) -> Samples:
    """Classes with some of their rows."""
    keep = np.zeros(samples.rows, dtype=bool)
    keep[rows] = True
    return dataclasses.replace(samples, members=tuple(m[keep[m]] for m in samples.members))


def header(rules: TableRules, family: str, leave: Leave) -> dict[str, Any]:
    """What says of out-of-fold predictions where they come from."""
    what = "each fifth of the groups" if leave.by == "group" else "each device"
    return {
        "id": f"{family}, refitted on this table without {what}", "date": date.today().isoformat(), "tables": [],
        "cross_validation": [],
    }  # fmt: skip
