"""Peak memory of published training steps against the ledger, and the allocator's gaps fitted with groups left out.

python scripts/training_memory.py ../shared/data/published/training.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from speedlight.engine.questions.resolve import planned, resolve
from speedlight.engine.steps.memory import ledger_at
from speedlight.engine.training.step import step_of
from speedlight.evidence.tables import read_table
from speedlight.validation.training.rows import row_of


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("table", type=Path)
    table = read_table(asked.parse_args().table)
    names, groups, ratios, gaps = [], [], [], []
    for number in range(table.rows):
        cells = {name: column[number] for name, column in table.columns.items()}
        if not str(cells["memory_scope"]).startswith("peak"):
            continue
        row = row_of(cells)
        scenario = row.scenario(row.recompute or "none", row.micro_batch or 1.0)
        resolved = resolve(scenario)
        made, dims = planned(resolved)
        ledger = ledger_at(resolved, made, dims, step_of(scenario.program.workload, scenario.program.parallel))
        gap = resolved.stack.reserve.fragmentation
        tensors = (float(ledger.total) - float(ledger.by_class["reserve"])) / (1 + gap)
        names.append(str(cells["case_id"]))
        groups.append(f"{cells['model']}|{str(cells['gpu'])[:5]}")
        ratios.append(float(cells["memory_bytes_per_gpu"]) / tensors)
        gaps.append(gap)
    measured, shipped, group = np.array(ratios), np.array(gaps), np.array(groups)
    out = np.array([np.median(measured[group != g]) - 1 for g in groups])
    for name, ratio, gap, other in zip(names, measured, shipped, out, strict=True):
        print(
            f"{name:48s} shipped {(1 + gap) / ratio - 1:+7.1%}   group left out (gaps {other:.3f}) {(1 + other) / ratio - 1:+7.1%}"
        )
    for title, used in (("shipped", shipped), ("group left out", out)):
        error = np.abs((1 + used) / measured - 1)
        print(
            f"{title}: median {np.median(error):.1%}, mean {error.mean():.1%}, within 10 % {np.mean(error <= 0.1):.0%}"
        )


if __name__ == "__main__":
    main()
