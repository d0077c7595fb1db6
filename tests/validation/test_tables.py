"""A suite from a table's rules: units, rates, several measured columns, layers, statuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speedlight._foundation.errors import BadInput
from speedlight.costs.calibration.model import Fit, Fitted, Part, Spread
from speedlight.costs.calibration.samples import TABLES, Family, TableRules, Target, View
from speedlight.evidence.schema import schemas
from speedlight.validation.suite import SUITES
from speedlight.validation.suites import tables
from speedlight.validation.suites.tables import suite_of
from speedlight.validation.validate import validate

pytest.importorskip("pyarrow", reason="needs the extra 'data'")
import pyarrow.parquet as pq

from tests.validation.factory import write


def seen(seconds: float) -> Any:
    """A view: so many seconds of memory and of launch for each item, at most half of it the limit."""

    def view(cls: Any, rows: Any, machine: Any) -> View:
        if cls["sort"] == "odd":
            raise BadInput("sort odd")
        time = seconds * rows["items"]
        return View({"memory": time, "launch": time}, {"items": np.log2(rows["items"])}, time / 2)

    return view


def family(name: str) -> Family:
    return Family(name, ("memory",), ("launch",), (), (), (), kernels=None)


def refuse(cls: Any, rows: Any, machine: Any) -> View:
    raise BadInput("no such part")


RULES = TableRules(
    name="pieces",
    targets=(
        Target("out_us", family("out"), seen(1e-6), unit=1e-6),
        Target("back_s", family("back"), seen(1e-3)),
        Target("none_s", family("none"), refuse),
    ),
    measured=("out_us", "back_s", "none_s", "out_rate"),
    numbers={"items": 1, "size": 0},
    texts=("sort", "framework"),
    group=("items",),
    slices=("sort",),
    key=lambda cls, machine: {"device": machine.device_id, "framework": cls["framework"], "format": cls["sort"]},
    rates={"out_rate": ("out_us", lambda rows: rows["items"] * rows["size"])},
    optional={"size": 8.0},
)
ROWS: dict[str, Any] = {
    "system": ["h200_sxm"] * 4,
    "sort": ["even", "even", "odd", "even"],
    "framework": ["a", "b", "a", "a"],
    "items": [1, 2, 4, 8],
    "size": [None, 10.0, 1.0, -1.0],
    "out_us": [2.5, 3.5, 9.0, 1.0],
    "back_s": [0.0004, 0.004, 1.0, 1.0],
    "out_rate": [1e6, 1e9, 1.0, 1.0],
}


def part(bend: float) -> Part:
    from speedlight.costs.calibration.blocks import Axis, Block

    block = Fitted(Block("total", (Axis("items", 0, 4),)), {(): np.full(5, np.log(bend))})
    spread = Spread((), {("stranger",): (-0.1, 0.2)})
    return Part(("memory",), ("launch",), 2.0, (block,), spread, frozenset(), frozenset())


HEADER = {
    "id": "out@x",
    "date": "2026-01-01",
    "tables": [],
    "cross_validation": [{"leave": "group", "median_ape": 0.1}],
}


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fit]:
    fits: dict[str, Fit] = {}
    monkeypatch.setitem(SUITES._members, "pieces", suite_of(RULES))
    monkeypatch.setattr(tables, "shipped", fits.get)
    return fits


def run(folder: Path, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    out = folder / "out.parquet"
    result = validate(write(folder, "pieces.parquet", ROWS, **changes), predictions=out)
    return result, pq.read_table(out).to_pydict()


def test_columns_are_predicted_in_their_own_unit(pieces: dict[str, Fit], tmp_path: Path) -> None:
    result, data = run(tmp_path)
    assert data["predicted_out_us"][:2] == pytest.approx([2.0, 4.0])
    assert data["limit_out_us"][:2] == pytest.approx([0.5, 1.0])
    assert data["predicted_back_s"][:2] == pytest.approx([2e-3, 4e-3])
    assert data["predicted_none_s"] == [None] * 4
    assert data["status"] == ["ok", "ok", "unsupported:sort odd", "invalid:size"]
    assert data["layer"] == ["analytic", "analytic", None, None]
    assert result["predicted"] == 2
    assert result["metrics"]["out_us"]["n"] == 2
    assert result["metrics"]["out_us"]["median_ape"] == pytest.approx((0.2 + 0.5 / 3.5) / 2)


def test_the_greatest_value_limits_a_rate(pieces: dict[str, Fit], tmp_path: Path) -> None:
    result, data = run(tmp_path)
    assert data["predicted_out_rate"][:2] == pytest.approx([8 / 2e-6, 20 / 4e-6])  # a blank size is the default
    assert data["limit_out_rate"][:2] == pytest.approx([8 / 0.5e-6, 20 / 1e-6])
    for low, p, high, limit in zip(
        *(data[f"{n}_out_rate"][:2] for n in ("low", "predicted", "high", "limit")), strict=True
    ):
        assert low <= p <= high <= limit
    assert result["metrics"]["out_rate"]["below_limit"] == 1
    assert {(b["row"], b["column"]) for b in result["below_limit"]} == {(0, "back_s"), (1, "out_rate")}


def test_a_fit_of_one_column_makes_the_layer_mixed(pieces: dict[str, Fit], tmp_path: Path) -> None:
    pieces["out"] = Fit("out", HEADER, (), {(): part(1.5)})
    result, data = run(tmp_path)
    assert data["predicted_out_us"][:2] == pytest.approx([3.0, 6.0], rel=1e-3)
    assert data["high_out_us"][0] == pytest.approx(3.0 * np.exp(0.2), rel=1e-3)
    assert data["layer"][:2] == ["mixed", "mixed"]
    assert result["fit"] == {
        "id": "out@x", "date": "2026-01-01", "cv": [{"leave": "group", "median_ape": 0.1, "column": "out_us"}],
    }  # fmt: skip
    pieces["back"] = Fit("back", {**HEADER, "id": "back@y", "date": "2026-02-02"}, (), {(): part(1.0)})
    result, data = run(tmp_path)
    assert data["layer"][:2] == ["calibrated", "calibrated"]
    assert (result["fit"]["id"], result["fit"]["date"]) == ("out@x + back@y", "2026-02-02")


def test_inferred_rows_are_predicted(pieces: dict[str, Fit], tmp_path: Path) -> None:
    _, data = run(tmp_path, framework=["", None, "", "a"])
    assert data["status"] == ["inferred:framework", "inferred:framework", "unsupported:sort odd", "invalid:size"]
    assert data["predicted_out_us"][0] == pytest.approx(2.0)
    _, data = run(tmp_path, framework=None)
    assert data["status"][0] == "inferred:framework"


def test_rows_are_looked_at_in_pieces(pieces: dict[str, Fit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces["out"] = Fit("out", HEADER, (), {(): part(1.5)})
    whole = run(tmp_path)
    monkeypatch.setattr(tables, "AT_ONCE", 1)
    again = run(tmp_path)
    assert again[1] == whole[1]
    assert again[0]["averages"] == whole[0]["averages"]
    assert again[0]["groups"] == whole[0]["groups"]


def test_classes_count_alike_however_many_rows(pieces: dict[str, Fit], tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "system": ["h200_sxm"] * 4, "sort": ["even"] * 4, "framework": ["a", "a", "a", "b"], "items": [1, 1, 1, 1],
        "out_us": [2.0, 2.0, 2.0, 4.0],
    }  # fmt: skip
    result = validate(write(tmp_path, "pieces.parquet", rows))
    assert result["metrics"]["out_us"]["mape"] == pytest.approx(0.125)
    average = result["averages"]["out_us"]
    assert (average["classes"], average["median_ape"], average["mape"]) == (2, pytest.approx(0.25), pytest.approx(0.25))
    assert set(result["groups"]["class"]) == {"h200-sxm-141gb|a|even", "h200-sxm-141gb|b|even"}


def test_coverage_counts_shape_groups_alike(pieces: dict[str, Fit], tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "system": ["h200_sxm"] * 4, "sort": ["even"] * 4, "framework": ["a"] * 4, "items": [1, 1, 1, 2],
        "out_us": [2.5, 2.5, 2.5, 400.0],
    }  # fmt: skip
    result = validate(write(tmp_path, "pieces.parquet", rows))
    assert result["metrics"]["out_us"]["coverage_80"] == pytest.approx(0.75)
    assert result["averages"]["out_us"]["coverage_80"] == pytest.approx(0.5)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_rules_agree_with_the_schema(name: str) -> None:
    """What a table's rules call measured, needed or a key is what its schema says; nothing measured is an input."""
    rules, schema = TABLES.get(name), schemas()[name]
    assert set(schema.of("measured")) <= set(rules.measured)
    assert not set(rules.measured) & {*rules.numbers, *rules.texts, *rules.group, *rules.slices}
    assert {t.column for t in rules.targets} | set(rules.rates) <= set(rules.measured)
    assert {*rules.numbers, *rules.group} <= set(schema.columns)
    assert set(rules.optional) <= set(rules.numbers)
    assert set(suite_of(rules).required) <= set(schema.columns)
    for column in rules.numbers:
        assert schema.columns[column].type in ("integer", "number", "boolean")


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_with_no_rows_is_an_answer(name: str, tmp_path: Path) -> None:
    import pyarrow as pa

    kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    schema = schemas()[name]
    empty = {n: pa.array([], kinds[c.type]) for n, c in schema.columns.items()}
    pq.write_table(pa.table(empty), tmp_path / f"{name}.parquet")
    result = validate(tmp_path / f"{name}.parquet", predictions=tmp_path / "out.parquet")
    assert (result["rows"], result["predicted"], result["coverage"]) == (0, 0, None)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.data
def test_a_share_of_every_table_is_answered(name: str, data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "kernels" / f"{name}.parquet"
    whole = pq.read_table(path)
    rows = np.sort(np.random.default_rng(0).choice(whole.num_rows, min(1000, whole.num_rows), replace=False))
    share = tmp_path / path.name
    pq.write_table(whole.take(rows), share)
    result = validate(share, predictions=tmp_path / "out.parquet")
    said = dict(result["status"])
    refused = sum(said.pop(status) for status in list(said) if status.startswith("out-of-scope"))
    assert set(said) == {"ok"}
    assert result["predicted"] == result["rows"] - refused
    assert refused == 0 or name == "quantize_compute_scale"
    data = pq.read_table(tmp_path / "out.parquet", filters=[("status", "==", "ok")])
    rules = SUITES.get(name)
    for column in rules.predicted:
        low, p, high, limit = (np.asarray(data[f"{n}_{column}"]) for n in ("low", "predicted", "high", "limit"))
        assert np.all(low <= p)
        assert np.all(p <= high)
        assert np.all(p <= limit * (1 + 1e-12)) if column in rules.rate else np.all(limit <= p * (1 + 1e-12))
